"""Real data."""

from evidence.real_data import claims, experiment, statements

__all__ = ["claims", "experiment", "statements"]

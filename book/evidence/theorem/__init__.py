"""The theorem."""

from evidence.theorem import claims, experiment, statements

__all__ = ["claims", "experiment", "statements"]

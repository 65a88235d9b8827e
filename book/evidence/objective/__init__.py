"""Reconstruct or classify?"""

from evidence.objective import claims, experiment, statements

__all__ = ["claims", "experiment", "statements"]

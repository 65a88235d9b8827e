"""Depth."""

from evidence.depth import claims, experiment, statements

__all__ = ["claims", "experiment", "statements"]

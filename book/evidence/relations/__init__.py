"""Relations."""

from evidence.relations import claims, experiment, measures, statements

__all__ = ["claims", "experiment", "measures", "statements"]

"""Non-negative initialisation."""

from evidence.nonnegative import claims, experiment, hessian, statements

__all__ = ["claims", "experiment", "hessian", "statements"]

"""Does training find it?"""

from evidence.training import baseline, claims, experiment, statements

__all__ = ["baseline", "claims", "experiment", "statements"]

"""Linear maps."""

from evidence.linear_maps import claims, statements

__all__ = ["claims", "statements"]

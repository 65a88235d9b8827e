"""Linear maps."""

from evidence.linear_maps import claims, statements

"""Depth."""

from evidence.depth import claims, experiment, statements
from evidence.paper import follow

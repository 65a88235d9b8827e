"""Depth."""

from evidence.depth import claims, experiment, statements
from evidence.setting import follow

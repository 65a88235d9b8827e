"""Depth."""

from evidence.depth import chain, claims, experiment, random_layers, statements
from evidence.setting import follow

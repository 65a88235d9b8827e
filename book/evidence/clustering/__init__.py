"""Clustering without a rank."""

from evidence.clustering import contrast, statements

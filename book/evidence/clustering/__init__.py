"""Clustering without a rank."""

from evidence.clustering import contrast, experiment, statements

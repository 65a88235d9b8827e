"""Clustering without a rank."""

from evidence.clustering import contrast, experiment, layers, statements

"""Certified labels, any layer."""

from evidence.certified_labels import statements

"""Activations."""

from evidence.activations import claims, statements

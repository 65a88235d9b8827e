"""Activations."""

from evidence.activations import claims, statements

__all__ = ["claims", "statements"]

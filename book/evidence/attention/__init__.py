"""Attention."""

from evidence.attention import claims, statements

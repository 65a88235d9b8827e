"""Denoising."""

from evidence.denoising import claims, statements

__all__ = ["claims", "statements"]

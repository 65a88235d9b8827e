"""Denoising."""

from evidence.denoising import claims, statements

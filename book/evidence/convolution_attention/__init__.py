"""Convolution and attention."""

from evidence.convolution_attention import claims, experiment, statements

__all__ = ["claims", "experiment", "statements"]

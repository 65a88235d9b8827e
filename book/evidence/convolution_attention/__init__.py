"""Convolution and attention."""

from evidence.convolution_attention import claims, experiment, statements
from evidence.setting import paper_data

"""Convolution and attention."""

from evidence.convolution_attention import claims, experiment, statements
from evidence.paper import paper_data

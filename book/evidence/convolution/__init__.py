"""Convolution and pooling."""

from evidence.convolution import claims, experiment, statements
from evidence.setting import paper_data

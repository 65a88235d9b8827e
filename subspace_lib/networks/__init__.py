"""Stacked networks: the weights of all trials in one tensor, the trial axis in plain view."""

from subspace_lib.networks.base import ACTIVATIONS, INITS, Layer, Network, Params, check_columns
from subspace_lib.networks.convolutional import Convolutional
from subspace_lib.networks.feedforward import FeedForward
from subspace_lib.networks.recurrent import Recurrent
from subspace_lib.networks.transformer import Transformer

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "Convolutional",
    "FeedForward",
    "Layer",
    "Network",
    "Params",
    "Recurrent",
    "Transformer",
    "check_columns",
]

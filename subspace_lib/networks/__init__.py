"""Architectures: what they observe of the data, layer by layer, and what they put out."""

from subspace_lib.networks.base import Layer, Network, Params
from subspace_lib.networks.convolutional import Convolutional
from subspace_lib.networks.feedforward import FeedForward
from subspace_lib.networks.recurrent import Recurrent
from subspace_lib.networks.transformer import Transformer

__all__ = ["Convolutional", "FeedForward", "Layer", "Network", "Params", "Recurrent", "Transformer"]

"""Certificates from what is observed: which points certainly share a cluster.

Neither clean data nor labels: a noisy matrix, its rank, and what is known of its noise. That two
points lie in *different* clusters can never be certified this way; the number of clusters is known
or not at all.
"""

from subspace_lib.certify.layers import LayerReading, read_layer, whiten
from subspace_lib.certify.links import MustLinks, certified_labels, must_links

__all__ = ["LayerReading", "MustLinks", "certified_labels", "must_links", "read_layer", "whiten"]

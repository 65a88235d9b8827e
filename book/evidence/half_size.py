"""The training experiments once more at half the size, for the ledger's question how sure it is.

Half the features, dimensions of the subspaces, points and units; as many subspaces, layers, steps
and rates. The ratios on which a layer's geometry depends (units to rank, points to rank) stay, so
that a verdict that changes depends on the size itself, or on a rate that was found for the other.
Of real data only the units can be halved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evidence.activations_recurrence import experiment as activations
from evidence.convolution_attention import experiment as architectures
from evidence.depth import experiment as depth
from evidence.experiment import find, register
from evidence.nonnegative import experiment as nonnegative
from evidence.nonnegative_features import experiment as nonnegative_features
from evidence.objective import experiment as objective
from evidence.real_data import experiment as real_data
from evidence.relations import experiment as relations
from evidence.training import baseline as data_clusters
from evidence.training import experiment as autoencoder

SUFFIX = "-half"
DATA = {"trials": 20, "ambient_dim": 200, "subspace_dim": 2, "points_per_subspace": 50}
LAYER = DATA | {"hidden": 40}
# 10×10 images: the ratio of the rows of every reading to the rank stays, so do the points' entries.
IMAGES = LAYER | {
    "ambient_dim": 100, "side_trials": 4, "channels": (4, 8, 10), "tokens": 10, "width": 10,
    "scale": 50 * 2**0.5, "side_scale": 5 * 2**0.5,
}  # fmt: skip
UNION = {"ambient_dim": 50, "subspace_dim": 2, "points_per_subspace": 25, "hidden": 32}

# By module: importing one registers the experiments that are repeated here.
SMALLER: dict[Any, dict[str, dict[str, Any]]] = {
    activations: {"activations": LAYER, "recurrent": DATA | {"hidden": 10}},
    architectures: {"architectures": IMAGES},
    autoencoder: {"autoencoder": LAYER, "trained-certificates": LAYER},
    data_clusters: {"data-clusters": DATA},
    depth: {"depth": LAYER},
    nonnegative: {"nonnegative": LAYER},
    nonnegative_features: {"nonnegative-features": {"width": 16}},
    objective: {"objective": LAYER},
    real_data: {
        "real-data": {"hidden": 40},
        "real-data-hub": {"hidden": 40, "trials": 10, "limit": 2000},
    },
    relations: {"relations": UNION},
}

for _changes in SMALLER.values():
    for _name, _sizes in _changes.items():
        _whole = find(_name)
        register(
            replace(
                _whole,
                name=_name + SUFFIX,
                title=f"{_whole.title.partition(' (')[0]}, at half the size",
                full=replace(_whole.full, **_sizes),
            )
        )

"""Projectors, perturbation bounds and certificates for the clusters that networks preserve.

Data flows one way: data → representation → row basis → gap and bound → certificate → verdict.
Matrices hold one data point per column; leading axes are batch. At the top stand the names one
meets first; everything else lives in the module that is named after its idea.

>>> import torch
>>> import subspace_lib as sl
>>> data = sl.sample_union(ambient_dim=30, n_subspaces=3, subspace_dim=2,
...                        points_per_subspace=20, seed=0)
>>> noisy = sl.add_noise(data, variance=1e-3, seed=1)
>>> P, R = sl.row_projector(data.X, rank=6), sl.row_basis(data.X, rank=6)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from subspace_lib import (
    affinity,
    bounds,
    certificate,
    certify,
    clustering,
    data,
    diagnostics,
    entrywise,
    networks,
    probe,
    projectors,
    reference,
    training,
)
from subspace_lib.bounds import wedin_bound
from subspace_lib.certify import must_links
from subspace_lib.clustering import connectivity_margin
from subspace_lib.data import add_noise, from_matrix, sample_union
from subspace_lib.entrywise import certify_clusters
from subspace_lib.networks import FeedForward
from subspace_lib.probe import LayerProbe
from subspace_lib.projectors import principal_angles, projection_distance, row_basis, row_projector
from subspace_lib.reference import reference_bound
from subspace_lib.training import train

if TYPE_CHECKING:
    from subspace_lib.estimator import ProjectorClustering

__version__ = "0.2.0"

__all__ = [
    "FeedForward",
    "LayerProbe",
    "ProjectorClustering",
    "add_noise",
    "affinity",
    "bounds",
    "certificate",
    "certify",
    "certify_clusters",
    "clustering",
    "connectivity_margin",
    "data",
    "diagnostics",
    "entrywise",
    "figures",
    "from_matrix",
    "must_links",
    "networks",
    "principal_angles",
    "probe",
    "projection_distance",
    "projectors",
    "reference",
    "reference_bound",
    "row_basis",
    "row_projector",
    "sample_union",
    "train",
    "training",
    "wedin_bound",
]


def __getattr__(name: str) -> Any:
    """What brings matplotlib or scikit-learn is imported when it is first asked for."""
    if name in ("figures", "estimator"):
        return import_module(f"subspace_lib.{name}")
    if name == "ProjectorClustering":
        return import_module("subspace_lib.estimator").ProjectorClustering
    raise AttributeError(f"module 'subspace_lib' has no attribute {name!r}; dir() lists them")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

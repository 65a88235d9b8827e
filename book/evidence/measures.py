"""What several experiments measure on a representation, all trials at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subspace_lib import clustering


def indicators(labels: Tensor) -> Tensor:
    """(K, n): the indicator of each class, of length 1. labels: (n,), integers below K."""
    L = torch.nn.functional.one_hot(labels).mT.double()
    return L / L.sum(1, keepdim=True).sqrt()


def share_inside(R: Tensor, V: Tensor) -> Tensor:
    """‖R Vᵀ‖_F² / rows of R: the part of span R inside span V; both have orthonormal rows."""
    return (V @ R.mT).square().sum((-2, -1)) / R.shape[-2]


def shares(R: Tensor, V: Tensor) -> Tensor:
    """(c, q): the part of span R inside the first 1, …, q rows of V (c, q, n)."""
    return (R @ V.mT).square().sum(-2).cumsum(-1) / R.shape[-2]


def accuracy(labels: Tensor, found: Tensor) -> Tensor:
    """Share of the points in the right cluster, for clusterings found (c, n): (c,)."""
    return clustering.batched_scores(labels, found, int(labels.max()) + 1)["acc"]


def spectral_accuracy(V: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of spectral clustering of |VᵀV|, the number of clusters known: (c,)."""
    return accuracy(labels, clustering.spectral_clusters(V, int(labels.max()) + 1))


def linkage_accuracy(V: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of single linkage on |VᵀV|, the number of clusters known: (c,)."""
    return accuracy(labels, clustering.linkage_clusters(V, int(labels.max()) + 1))


def kmeans_accuracy(Y: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of k-means on the columns of Y (c, p, n), the plain baseline: (c,)."""
    from sklearn.cluster import KMeans  # slow to import

    model = KMeans(int(labels.max()) + 1, n_init=4, random_state=0)
    found = np.stack([model.fit_predict(A.mT.numpy()) for A in Y.cpu()])
    return accuracy(labels, torch.from_numpy(found).long().to(labels.device))


CLUSTERINGS = {"spectral": spectral_accuracy, "linkage": linkage_accuracy}

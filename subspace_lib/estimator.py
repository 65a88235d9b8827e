"""Subspace clustering by the row-space projector, as a scikit-learn estimator.

Here rows are samples, as scikit-learn has it: for the (n_samples, n_features) matrix the projector
is P = V Vᵀ with V its leading left singular vectors, one row v_i per sample, and P_ij = v_i · v_j.
P itself, n×n, is never formed: the similarities are computed tile by tile.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certify import MustLinks, must_links
from subspace_lib.clustering import (
    NEIGHBORS,
    largest_similarities,
    linkage_clusters,
    neighbour_graph,
    spectral_labels,
    unit_rows,
)
from subspace_lib.projectors import numerical_rank, row_basis
from subspace_lib.rowspace import balanced

ASSIGN = ("spectral", "threshold")


class ProjectorClustering(ClusterMixin, BaseEstimator):
    """Clusters of samples that share a subspace, read off the projector P of the data matrix.

    For a union of independent subspaces P_ij = 0 across clusters; with noise |P_ij| is a
    similarity.

    n_clusters: K. rank: of P, the sum of the dimensions of the subspaces. It is the caller's
    decision; None takes one dimension per cluster (fewer if the data have fewer), which is right
    only for clusters on lines.
    assign: "spectral" (default): normalised spectral clustering of the sparse graph of each
      point's n_neighbors largest similarities. "threshold": single linkage, the K components of
      the best threshold on |P|: what the theory certifies and exact where the margin is positive,
      but one noisy point that joins two clusters undoes it. Both take O(n²·rank) time and
      O(n·(rank + n_neighbors)) memory.
    normalize: for "spectral", compare |P_ij|/√(P_ii P_jj), so that points of large leverage do not
      become everybody's neighbour; False compares |P_ij|.
    random_state: of k-means and of the starting vector.

    Attributes: labels_ (n_samples,), factor_ (n_samples, rank) with P = factor_ factor_ᵀ,
    mapping_ (n_features, rank) with factor_ = X mapping_, rank_, n_features_in_.
    ``predict`` gives new samples their coordinates X mapping_ and the vote of the most similar
    training samples, so a grid search can score held-out samples by labels, when these are known:
    ``GridSearchCV(ProjectorClustering(4), {"rank": [8, 16]}, scoring="adjusted_rand_score")``.
    Without labels there is no ``score``: no quantity here is comparable between ranks.
    Raises ValueError for a rank above what the data have, or n_clusters above n_samples.
    Source: Costeira and Kanade (1998), doi:10.1023/A:1008000628999 (P, the shape interaction
    matrix); von Luxburg (2007), doi:10.1007/s11222-007-9033-z (spectral clustering).

    >>> found = sl.ProjectorClustering(3, rank=6, random_state=0).fit_predict(noisy.X.T)
    >>> sl.clustering.accuracy(data.labels, found)
    1.0
    """

    def __init__(
        self,
        n_clusters: int = 8,
        rank: int | None = None,
        *,
        assign: str = "spectral",
        n_neighbors: int = NEIGHBORS,
        normalize: bool = True,
        random_state: Any = None,
    ):
        self.n_clusters = n_clusters
        self.rank = rank
        self.assign = assign
        self.n_neighbors = n_neighbors
        self.normalize = normalize
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ProjectorClustering:
        """Cluster the rows of X (n_samples, n_features); y is ignored."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        K = check.positive_int(self.n_clusters, "n_clusters")
        check.positive_int(self.n_neighbors, "n_neighbors")
        check.one_of(self.assign, ASSIGN, "assign")
        if len(X) < K:
            raise ValueError(
                f"n_clusters must be at most n_samples = {len(X)}, got {K}; n_samples={len(X)} "
                f"points cannot fill more clusters"
            )
        self._fit_X = X
        A, unit = balanced(torch.from_numpy(np.ascontiguousarray(X.T)))
        self.rank_ = self._rank_for(A, K)
        V = _basis(A, self.rank_)
        images = A @ V.mT  # columns s_j u_j
        self.mapping_ = (images / images.square().sum(0) / unit).numpy()
        self.factor_ = np.ascontiguousarray(V.mT.numpy())
        if self.assign == "threshold":
            self.labels_ = linkage_clusters(V[None], K)[0].numpy()
        elif K == 1:
            self.labels_ = np.zeros(len(X), dtype=np.int64)
        else:
            graph = neighbour_graph(self._similar(self.factor_), self.n_neighbors)
            self.labels_ = spectral_labels(graph, K, check_random_state(self.random_state))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels of new samples (m, n_features): the vote of the most similar training samples.

        Votes weigh as their similarity. "threshold" asks the single most similar one.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        new, old = self._similar(X @ self.mapping_), self._similar(self.factor_)
        k = 1 if self.assign == "threshold" else self.n_neighbors
        weights, index = largest_similarities(new, old, min(k, len(old)))
        votes = np.zeros((len(X), int(self.labels_.max()) + 1))
        np.add.at(votes, (np.arange(len(X))[:, None], self.labels_[index]), weights)
        return votes.argmax(1)

    def certify(self, noise: Any = None, rank: int | None = None, **options: Any) -> MustLinks:
        """Pairs of the fitted samples that certainly share a cluster, see ``must_links``.

        noise: deviation of the Gaussian noise on X, None if unknown. rank: of the clean data;
        None takes the estimator's own, which must have been given. options: radius, level, …
        """
        check_is_fitted(self)
        rank = self.rank if rank is None else rank
        if rank is None:
            raise ValueError("rank must be given, that of the clean data: a smaller one is unsound")
        options = {"n_clusters": self.n_clusters} | options
        return must_links(np.ascontiguousarray(self._fit_X.T), rank, noise=noise, **options)

    def _similar(self, factor: np.ndarray) -> np.ndarray:
        """Rows whose inner products are the similarities."""
        if not self.normalize or self.assign == "threshold":
            return factor
        return unit_rows(factor)

    def _rank_for(self, A: Tensor, n_clusters: int) -> int:
        if self.rank is None:
            available = int(numerical_rank(A))
            if available == 0:
                raise ValueError("X must not be zero: it has no row space to cluster by")
            return min(n_clusters, available)
        if isinstance(self.rank, bool) or not isinstance(self.rank, Integral):
            raise TypeError(f"rank must be an integer or None, got {self.rank!r}")
        return int(self.rank)


def _basis(A: Tensor, rank: int) -> Tensor:
    try:
        return row_basis(A, rank)
    except ValueError as error:
        raise ValueError(
            f"rank must lie in 1..{int(numerical_rank(A))}, the numerical rank of X (n_samples, "
            f"n_features) = ({A.shape[1]}, {A.shape[0]}), got {rank}; rank=None takes at most that"
        ) from error

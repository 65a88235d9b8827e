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
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.clustering import single_linkage
from subspace_lib.projectors import numerical_rank, row_basis

ASSIGN = ("spectral", "threshold")
TILE_ENTRIES = 1 << 23  # similarities held at once: 32 MB in float32, whatever n is
DENSE = 1024  # up to here an n×n matrix is small, and single_linkage does the work
# A weak link between all points keeps the graph connected, so that its leading eigenvectors are
# determined; at a thousandth of the mean degree no cluster notices.
WEAK_LINK = 1e-3
LANCZOS = 60  # vectors: one pass mostly suffices, and every restart costs as much as half of it


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
    """

    def __init__(
        self,
        n_clusters: int = 8,
        rank: int | None = None,
        *,
        assign: str = "spectral",
        n_neighbors: int = 20,
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
        A = torch.from_numpy(np.ascontiguousarray(X.T))
        self.rank_ = self._rank_for(A, K)
        V = _basis(A, self.rank_)
        images = A @ V.mT  # columns s_j u_j
        self.mapping_ = (images / images.square().sum(0)).numpy()
        self.factor_ = np.ascontiguousarray(V.mT.numpy())
        if K == 1:
            self.labels_ = np.zeros(len(X), dtype=np.int64)
        elif self.assign == "threshold":
            self.labels_ = _linkage_labels(self.factor_, K)
        else:
            graph = neighbour_graph(self._similar(self.factor_), self.n_neighbors)
            self.labels_ = _spectral_labels(graph, K, check_random_state(self.random_state))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels of new samples (m, n_features): the vote of the most similar training samples.

        Votes weigh as their similarity. "threshold" asks the single most similar one.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        new, old = self._similar(X @ self.mapping_), self._similar(self.factor_)
        k = 1 if self.assign == "threshold" else self.n_neighbors
        weights, index = _largest(new, old, min(k, len(old)))
        votes = np.zeros((len(X), int(self.labels_.max()) + 1))
        np.add.at(votes, (np.arange(len(X))[:, None], self.labels_[index]), weights)
        return votes.argmax(1)

    def _similar(self, factor: np.ndarray) -> np.ndarray:
        """Rows whose inner products are the similarities; a zero row stays zero."""
        if not self.normalize or self.assign == "threshold":
            return factor
        length = np.linalg.norm(factor, axis=1, keepdims=True)
        return np.divide(factor, length, out=np.zeros_like(factor), where=length > 0)

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


def _largest(
    F: np.ndarray, G: np.ndarray, k: int, skip_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Values and column indices of the k largest entries in each row of |F Gᵀ|, in tiles.

    skip_self leaves out the diagonal (F is G). Single precision: which of two neighbours that
    agree to 1e-7 comes first does not matter here.
    """
    left, right = torch.from_numpy(F).float(), torch.from_numpy(G).float()
    n, rows = len(F), min(len(F), max(1, TILE_ENTRIES // len(G)))
    values, columns = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    buffer = torch.empty(rows, len(G))  # one for all tiles: fresh ones fragment the heap to GBs
    for start in range(0, n, rows):
        part = left[start : start + rows]
        tile = torch.mm(part, right.mT, out=buffer[: len(part)]).abs_()
        if skip_self:
            i = torch.arange(len(part))
            tile[i, start + i] = -1
        top = tile.topk(k, dim=1)
        values[start : start + rows] = top.values.numpy()
        columns[start : start + rows] = top.indices.numpy()
    return values, columns


def neighbour_graph(F: np.ndarray, n_neighbors: int) -> csr_matrix:
    """Sparse symmetric graph of each row's n_neighbors largest |f_i · f_j|, j ≠ i; F: (n, rank).

    An edge that both ends chose counts twice.
    """
    n = len(F)
    k = min(n_neighbors, n - 1)
    weights, columns = _largest(F, F, k, skip_self=True)
    graph = csr_matrix((weights.ravel(), columns.ravel(), np.arange(n + 1) * k), shape=(n, n))
    return graph + graph.T


def _spectral_labels(graph: csr_matrix, n_clusters: int, random: Any) -> np.ndarray:
    """k-means on the rows of the K leading eigenvectors of the normalised graph."""
    n_parts, parts = connected_components(graph, directed=False)
    if n_parts == n_clusters:  # clean data: the components are the answer, without rounding
        return parts.astype(np.int64)
    vectors = _leading_vectors(graph, n_clusters, random)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.maximum(length, np.finfo(float).tiny)
    seed = random.randint(np.iinfo(np.int32).max)
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(rows)
    return found.astype(np.int64)


def _leading_vectors(graph: csr_matrix, count: int, random: Any) -> np.ndarray:
    n = graph.shape[0]
    degree = np.asarray(graph.sum(1)).ravel()
    link = WEAK_LINK * degree.mean()
    scale = 1 / np.sqrt(np.maximum(degree + link, np.finfo(float).tiny))
    graph = diags(scale) @ graph @ diags(scale)
    shared = np.sqrt(link / n) * scale  # the weak link as a matrix of rank one

    def multiply(x: np.ndarray) -> np.ndarray:
        return graph @ x + shared * (shared @ x)

    if n <= max(3 * count, 50):  # too small for Lanczos
        dense = graph.toarray() + np.outer(shared, shared)
        return np.linalg.eigh(dense)[1][:, -count:]
    operator = LinearOperator((n, n), matvec=multiply, dtype=np.float64)
    start = random.standard_normal(n)
    basis = min(n, max(2 * count + 1, LANCZOS))
    return eigsh(operator, k=count, ncv=basis, tol=1e-10, which="LA", v0=start)[1]


def _linkage_labels(factor: np.ndarray, n_clusters: int) -> np.ndarray:
    """Single linkage on |P| = |V Vᵀ|: a maximum spanning tree, its K − 1 weakest edges cut."""
    if len(factor) <= DENSE:
        return single_linkage(factor @ factor.T, n_clusters)
    parent, weight = _spanning_tree(factor)
    n = len(factor)
    keep = 1 + np.argsort(-weight[1:], kind="stable")[: n - n_clusters]
    forest = csr_matrix((np.ones(len(keep)), (keep, parent[keep])), shape=(n, n))
    return connected_components(forest, directed=False)[1].astype(np.int64)


def _spanning_tree(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prim's maximum spanning tree of |v_i · v_j|, one row of similarities at a time.

    Returns parent (n,) and the weight (n,) of the edge to it; entry 0 is the root and has none.
    """
    n = len(factor)
    best, parent = np.full(n, -1.0), np.zeros(n, dtype=np.int64)
    weight, outside = np.full(n, np.inf), np.ones(n, dtype=bool)
    current = 0
    for _ in range(n - 1):
        outside[current] = False
        row = np.abs(factor @ factor[current])
        closer = outside & (row > best)
        best[closer], parent[closer] = row[closer], current
        best[current] = -np.inf
        current = int(best.argmax())
        weight[current] = best[current]
    return parent, weight

"""From a projector to clusters: margins, thresholds, components, scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from subspace_lib import _checks as check


@check.numpy_in_numpy_out
def minimum_margin(P: Tensor, labels: Any, zero: float = 1e-12) -> Tensor:
    """ε_min: the smallest non-zero |P_ij| with i and j in one cluster (the paper's ε).

    P: (..., n, n), labels: (n,). Entries up to ``zero`` count as exact zeros. Returns (...).
    The diagonal counts. For random data this is the minimum of about n²/(2K) numbers: tiny.
    """
    P = check.square(P, "P")
    y = torch.from_numpy(check.label_vector(labels, P.shape[-1])).to(P.device)
    size = P.abs()
    usable = (y[:, None] == y[None, :]) & (size > zero)
    return size.masked_fill(~usable, float("inf")).amin((-2, -1))


@check.numpy_in_numpy_out
def connectivity_margin(P: Tensor, labels: Any) -> Tensor:
    """ε_conn: the weakest edge that clusters need to hold together.

    The smallest edge on a maximum spanning tree of each block of |P|, smallest over clusters; a
    single point contributes ∞. If ‖P − Q‖_max < ε_conn/2 and P is zero across clusters, the
    components of {|Q_ij| > ε_conn/2} are exactly the clusters.
    P: (..., n, n), labels: (n,). Returns (...); 0 where a block is not connected.
    """
    P = check.square(P, "P")
    y = check.label_vector(labels, P.shape[-1])
    size = P.detach().abs().cpu().double().numpy().reshape(-1, *P.shape[-2:])
    margins = [
        min(_weakest_edge(block[np.ix_(y == k, y == k)]) for k in range(y.max() + 1))
        for block in size
    ]
    return torch.tensor(margins, dtype=P.dtype, device=P.device).reshape(P.shape[:-2])


def _weakest_edge(weights: np.ndarray) -> float:
    """Smallest edge on a maximum spanning tree; 0 if disconnected, ∞ for a single point."""
    n = len(weights)
    if n == 1:
        return float("inf")
    # Negated weights turn SciPy's minimum tree into the maximum one. Zeros are no edges, and on a
    # disconnected graph SciPy returns a forest without a word: count the edges.
    tree = minimum_spanning_tree(csr_matrix(-np.triu(weights, 1)))
    return float(-tree.data.max()) if tree.nnz == n - 1 else 0.0


def cross_energy(V: Tensor, labels: Tensor) -> Tensor:
    """Share of Σ P_ij² in the pairs of different clusters; P = VᵀV. 0: P is block diagonal.

    V: (..., q, n), labels: (n,) 0 … K − 1. Returns (...). Costs q²n: P itself is never formed.
    """
    within = sum(
        (V[..., labels == k] @ V[..., labels == k].mT).square().sum((-2, -1))
        for k in range(int(labels.max()) + 1)
    )
    return 1 - within / (V @ V.mT).square().sum((-2, -1))


def cluster_by_threshold(Q: Tensor, threshold: float) -> Any:
    """Connected components of the graph {|Q_ij| > threshold}, as labels 0, 1, …

    Q: (..., n, n) symmetric. Returns (..., n) int64, of Q's kind (array or tensor).
    """
    A = check.square(Q, "Q")
    threshold = check.non_negative(threshold, "threshold")
    size = A.detach().abs().cpu().numpy()
    found = [
        connected_components(csr_matrix(block > threshold), directed=False)[1]
        for block in size.reshape(-1, *A.shape[-2:])
    ]
    return _labels_like(Q, np.stack(found), A)


def single_linkage(Q: Tensor, n_clusters: int) -> Any:
    """K clusters without a threshold: cut the K − 1 weakest edges of the maximum spanning tree.

    Q: (..., n, n) symmetric; similarity is |Q|. Returns (..., n) int64, of Q's kind.
    """
    A = check.square(Q, "Q")
    n = A.shape[-1]
    K = check.positive_int(n_clusters, "n_clusters")
    if n < K:
        raise ValueError(f"n_clusters must be at most the number of points {n}, got {K}")
    size = A.detach().abs().cpu().double().numpy().reshape(-1, n, n)
    return _labels_like(Q, np.stack([_cut_tree(block, K) for block in size]), A)


def _cut_tree(similarity: np.ndarray, n_clusters: int) -> np.ndarray:
    # Shifted by −1 − max, every edge is present (non-zero) and the strongest is the smallest.
    weights = np.triu(similarity.max() + 1 - similarity, 1)
    tree = minimum_spanning_tree(csr_matrix(weights)).tocoo()
    keep = np.argsort(tree.data, kind="stable")[: len(similarity) - n_clusters]
    forest = csr_matrix((np.ones(len(keep)), (tree.row[keep], tree.col[keep])), similarity.shape)
    return connected_components(forest, directed=False)[1]


def _labels_like(Q: Any, found: np.ndarray, A: Tensor) -> Any:
    found = found.astype(np.int64).reshape(*A.shape[:-2], A.shape[-1])
    return torch.from_numpy(found).to(A.device) if isinstance(Q, Tensor) else found


def accuracy(true: Any, found: Any) -> float:
    """Share of points that agree under the best matching of cluster names (Hungarian method)."""
    y, z = _two_labelings(true, found)
    table = np.zeros((y.max() + 1, z.max() + 1), dtype=np.int64)
    np.add.at(table, (y, z), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(y))


def clustering_scores(true: Any, found: Any) -> dict[str, float]:
    """ACC, NMI and ARI of two labelings (n,): 1 means equal up to names."""
    y, z = _two_labelings(true, found)
    return {
        "acc": accuracy(y, z),
        "nmi": float(normalized_mutual_info_score(y, z)),
        "ari": float(adjusted_rand_score(y, z)),
    }


def _two_labelings(true: Any, found: Any) -> tuple[np.ndarray, np.ndarray]:
    n = len(true)
    return check.label_vector(true, n, "true"), check.label_vector(found, n, "found")

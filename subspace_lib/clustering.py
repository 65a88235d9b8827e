"""From a projector to clusters: margins, spanning trees, linkage, spectral clustering, scores.

A similarity is |Q_ij| of a symmetric matrix Q (n, n), or |v_i · v_j| of the columns of a factor
V (r, n), with which the n×n matrix is never formed.
"""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.affinity import neighbour_graph

NEIGHBORS = 20  # of a point in the graph of spectral clustering
# A weak link between all points keeps the graph connected, so that its leading eigenvectors are
# determined; at a thousandth of the mean degree no cluster notices.
WEAK_LINK = 1e-3
LANCZOS = 60  # vectors: one pass mostly suffices, and every restart costs as much as half of it


@check.numpy_in_numpy_out
def minimum_margin(P: Tensor, labels: Any) -> Tensor:
    """ε_min: the smallest non-zero |P_ij| with i and j in one cluster (the paper's ε).

    P: (..., n, n), labels: (n,). Entries up to 1e-12 count as exact zeros. Returns (...).
    The diagonal counts. For random data this is the minimum of about n²/(2K) numbers: tiny.
    """
    P = check.square(P, "P")
    y = torch.from_numpy(check.label_vector(labels, P.shape[-1])).to(P.device)
    size = P.abs()
    usable = (y[:, None] == y[None, :]) & (size > 1e-12)
    return size.masked_fill(~usable, math.inf).amin((-2, -1))


@check.numpy_in_numpy_out
def connectivity_margin(P: Tensor, labels: Any) -> Tensor:
    """ε_conn: the weakest edge that clusters need to hold together.

    The smallest edge on a maximum spanning tree of each block of |P|, smallest over clusters; a
    single point contributes ∞. If ‖P − Q‖_max < ε_conn/2 and P is zero across clusters, the
    components of {|Q_ij| > ε_conn/2} are exactly the clusters.
    P: (..., n, n), labels: (n,). Returns (...); 0 where a block is not connected.

    >>> margin = sl.connectivity_margin(P, data.labels)
    >>> found = sl.clustering.cluster_by_threshold(P, margin / 2)
    >>> sl.clustering.accuracy(data.labels, found)
    1.0
    """
    P = check.square(P, "P")
    edges, _ = cluster_trees(P.abs(), check.label_vector(labels, P.shape[-1]))
    return weakest_edge(edges)


def weakest_edge(edges: Tensor) -> Tensor:
    """Smallest edge of ``cluster_trees``, ∞ where no cluster has one: (..., n − 1) → (...)."""
    edges = torch.where(edges < 0, math.inf, edges)
    return torch.nn.functional.pad(edges, (0, 1), value=math.inf).amin(-1)


def cluster_trees(W: Tensor, y: np.ndarray) -> tuple[Tensor, Tensor]:
    """``spanning_trees`` of the clusters one after the other, with an edge −1 in between.

    W: (..., n, n) ≥ 0. edges: (..., n − 1) and order: (..., n) as in ``spanning_trees``.
    """
    edges, order, counts = [], [], np.bincount(y)
    for m in np.unique(counts[counts > 0]):  # clusters of one size at once
        members = [np.flatnonzero(y == k) for k in np.flatnonzero(counts == m)]
        mine = torch.from_numpy(np.stack(members)).to(W.device)
        own, visits = spanning_trees(W[..., mine[:, :, None], mine[:, None, :]])
        edges.append(torch.nn.functional.pad(own, (1, 0), value=-1.0).flatten(-2))
        order.append(mine.expand_as(visits).gather(-1, visits).flatten(-2))
    return torch.cat(edges, -1)[..., 1:], torch.cat(order, -1)


def spanning_trees(A: Tensor, factor: bool = False) -> tuple[Tensor, Tensor]:
    """Maximum spanning trees of similarities A (..., n, n), or |AᵀA| for a factor A (..., r, n).

    Prim's algorithm on all at once; of a factor it forms one row of similarities at a time.
    edges: (..., n − 1) and order: (..., n), in the order in which the points are reached, from
    point 0. An edge ≤ c is taken only when no edge > c leaves the tree, so the components of the
    graph of the edges > c are the runs of ``order`` between the edges ≤ c.
    """
    shape, n, A = A.shape[:-2], A.shape[-1], A.reshape(-1, *A.shape[-2:])
    rows = (A.mT if factor else A).flatten(0, 1)
    order = torch.arange(len(A), device=A.device)[:, None].repeat(1, n) * n
    start, edges = order[:, 0].clone(), A.new_empty(len(A), n)
    reach = torch.full_like(A[:, 0], -math.inf)
    taken = torch.zeros_like(reach)  # −∞ at the points already in the tree
    row = torch.empty_like(reach)  # one for all steps: fresh ones fragment the heap to GBs
    for i in range(1, n):
        taken.view(-1).index_fill_(0, order[:, i - 1], -math.inf)
        here = rows.index_select(0, order[:, i - 1])
        here = torch.bmm(here[:, None], A, out=row[:, None]).abs_()[:, 0] if factor else here
        torch.maximum(reach, here, out=reach).add_(taken)
        edges[:, i], j = reach.max(-1)
        order[:, i] += j
    points = order - start[:, None]
    return edges[:, 1:].reshape(*shape, n - 1), points.reshape(*shape, n)


def linkage_clusters(A: Tensor, n_clusters: int, factor: bool = True) -> Tensor:
    """Single linkage: the K − 1 weakest edges of the maximum spanning tree are cut.

    A: (batch, r, n) factors of the similarities |AᵀA|; factor=False: (batch, n, n) similarities.
    Returns (batch, n) labels, numbered in the order of their first points.
    """
    (edges, order), n = spanning_trees(A, factor), A.shape[-1]
    weakest = edges.argsort(dim=1, stable=True)[:, : n_clusters - 1]
    cut = torch.zeros_like(order).scatter_(1, weakest + 1, 1)
    run = torch.zeros_like(order).scatter_(1, order, cut.cumsum(1))
    first, points = torch.full_like(order[:, :n_clusters], n), torch.arange(n, device=A.device)
    first = first.scatter_reduce(1, run, points.expand_as(run), "amin")
    return first.argsort(1).argsort(1).gather(1, run)


@check.numpy_in_numpy_out
def single_linkage(Q: Tensor, n_clusters: int) -> Any:
    """K clusters without a threshold: cut the K − 1 weakest edges of the maximum spanning tree.

    Q: (..., n, n) symmetric; similarity is |Q|. Returns (..., n) int64, of Q's kind.

    >>> found = sl.clustering.single_linkage(sl.row_projector(noisy.X, 6), n_clusters=3)
    >>> sl.clustering.accuracy(data.labels, found)
    1.0
    """
    A = check.square(Q, "Q")
    K = check.cluster_count(n_clusters, A.shape[-1])
    found = linkage_clusters(A.abs().reshape(-1, *A.shape[-2:]), K, factor=False)
    return found.reshape(A.shape[:-1])


@check.numpy_in_numpy_out
def cluster_by_threshold(Q: Tensor, threshold: float) -> Any:
    """Connected components of the graph {|Q_ij| > threshold}, as labels 0, 1, …

    Q: (..., n, n) symmetric. Returns (..., n) int64, of Q's kind (array or tensor).

    >>> sl.clustering.cluster_by_threshold(torch.tensor([[1, 0, 0.4], [0, 1, 0], [0.4, 0, 1]]), 0.3)
    tensor([0, 1, 0])
    """
    A = check.square(Q, "Q")
    threshold = check.non_negative(threshold, "threshold")
    edges = (A.abs() > threshold).reshape(-1, *A.shape[-2:]).cpu().numpy()
    parts = [connected_components(csr_matrix(one), directed=False)[1] for one in edges]
    found = np.stack(parts).astype(np.int64).reshape(A.shape[:-1])
    return torch.from_numpy(found).to(A.device)


def spectral_labels(graph: csr_matrix, n_clusters: int, random: np.random.RandomState) -> Any:
    """Normalised spectral clustering of a sparse graph of similarities: (n,) int64.

    k-means on the rows of the K leading eigenvectors of D^(−1/2) (graph + a weak link) D^(−1/2).
    Source: von Luxburg (2007), doi:10.1007/s11222-007-9033-z.
    """
    from sklearn.cluster import KMeans  # slow to import
    from sklearn.preprocessing import normalize

    if not graph.sum():  # every point is dead
        return np.zeros(graph.shape[0], dtype=np.int64)
    n_parts, parts = connected_components(graph, directed=False)
    if n_parts == n_clusters:  # clean data: the components are the answer, without rounding
        return parts.astype(np.int64)
    rows = normalize(leading_pairs(graph, n_clusters, random)[1])
    seed = random.randint(np.iinfo(np.int32).max)
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(rows)
    return found.astype(np.int64)


def leading_pairs(
    graph: csr_matrix, count: int, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest eigenvalues, rising, and eigenvectors (n, count) of the normalised
    graph with the weak link.
    """
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
        values, vectors = np.linalg.eigh(dense)
        return values[-count:], vectors[:, -count:]
    operator = LinearOperator((n, n), matvec=multiply, dtype=np.float64)
    start = random.standard_normal(n)
    basis = min(n, max(2 * count + 1, LANCZOS))
    # newer SciPy restarts on a nearly disconnected graph at random, unless it is told from where
    told = {"rng": 0} if "rng" in signature(eigsh).parameters else {}
    return eigsh(operator, k=count, ncv=basis, tol=1e-10, which="LA", v0=start, **told)


def spectral_clusters(V: Tensor, n_clusters: int) -> Tensor:
    """Spectral clustering of |VᵀV|, as ``ProjectorClustering`` does it at one rank.

    V: (batch, q, n) → labels (batch, n).
    """
    graphs = [neighbour_graph(F, F.shape[1:], k=NEIGHBORS) for F in V.mT]
    found = [spectral_labels(g, n_clusters, np.random.RandomState(0)) for g in graphs]
    return torch.from_numpy(np.stack(found)).to(V.device)


def batched_scores(true: Tensor, found: Tensor, n_clusters: int) -> dict[str, Tensor]:
    """``clustering_scores`` of labels found (batch, n) against true ones (n,), all < n_clusters."""
    pair = true * n_clusters + found
    table = torch.zeros(len(found), n_clusters**2, dtype=torch.float64, device=found.device)
    table.scatter_add_(1, pair, torch.ones_like(pair).double())
    table = table.unflatten(1, (n_clusters, n_clusters))
    n, rows, columns, cells = float(len(true)), table.sum(-1), table.sum(-2), table.flatten(-2)
    matched = [t[linear_sum_assignment(t, maximize=True)].sum() for t in table.cpu().numpy()]

    def entropy(counts: Tensor) -> Tensor:
        """Summed in falling order, so that equal partitions have equal entropies to the bit."""
        share = counts.sort(descending=True).values / n
        return -torch.special.xlogy(share, share).cumsum(-1)[..., -1]

    def pairs(counts: Tensor) -> Tensor:
        return (counts * (counts - 1) / 2).sum(-1)

    size = (entropy(rows) + entropy(columns)) / 2
    mutual = (2 * size - entropy(cells)).clamp(min=0)
    chance = pairs(rows) * pairs(columns) / max(n * (n - 1) / 2, 1)
    most = (pairs(rows) + pairs(columns)) / 2
    same = torch.ones_like(mutual)  # one cluster on both sides
    return {
        "acc": torch.tensor(np.array(matched) / n, dtype=torch.float64, device=found.device),
        "nmi": torch.where(size > 0, mutual / size, same),
        "ari": torch.where(most > chance, (pairs(cells) - chance) / (most - chance), same),
    }


def clustering_scores(true: Any, found: Any) -> dict[str, float]:
    """ACC, NMI and ARI of two labelings (n,): 1 means equal up to names.

    ACC: share of points that agree under the best matching of cluster names (Hungarian method).
    NMI: mutual information over the mean of the entropies; ARI: Rand index adjusted for chance.

    >>> sl.clustering.clustering_scores([0, 0, 1, 1], [1, 1, 0, 0])
    {'acc': 1.0, 'nmi': 1.0, 'ari': 1.0}
    """
    y = check.label_vector(true, None, "true")
    z = check.label_vector(found, len(y), "found")
    scores = batched_scores(torch.from_numpy(y), torch.from_numpy(z)[None], max(*y, *z) + 1)
    return {name: float(value[0]) for name, value in scores.items()}


def accuracy(true: Any, found: Any) -> float:
    """ACC alone, see ``clustering_scores``."""
    return clustering_scores(true, found)["acc"]

"""How alike two samples are, read off the row space at many ranks at once.

A sample is a row f_i of a factor F (n, R), V_R V_Rᵀ = F Fᵀ; its first r coordinates are its row of
V_r. At rank r two samples are as alike as |f_i · f_j| / (‖f_i‖‖f_j‖) over these coordinates, and
over several ranks as the geometric mean of that: a pair stays strong only if it is strong at all
of them. Nothing here forms an n×n matrix: O(n²·R) time by tiles, O(n·neighbours) memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

TILE_ENTRIES = 1 << 20  # similarities at once: 4 MB in float32, whatever n is
# Added at each of several ranks, so that no single one decides. A chance zero in one of ten ranks
# then costs a factor 2 in the mean and not everything.
FLOOR = 1e-3
GROWTH, SOME = 4, 32  # rounds in which an exact cluster may grow, from so many of its points
SCALES = (8, 4, 2, 1)  # the neighbourhoods are these parts of the largest


def geometric_ranks(low: float, high: float, count: int) -> tuple[int, ...]:
    """At most ``count`` different ranks from low to high, each a constant factor above the last.

    >>> sl.affinity.geometric_ranks(2, 18, 10)
    (2, 3, 4, 5, 7, 9, 11, 14, 18)
    """
    found = np.geomspace(min(low, high), high, count).round().astype(int)
    return tuple(int(r) for r in np.unique(found.clip(1)))


def nearest(
    F: Tensor, G: Tensor, ranks: Sequence[int], *, k: int, unit: bool = True, same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Values and columns of the k largest similarities of each row of F to the rows of G.

    F: (n, R), G: (m, R) → (n, k) each, falling. unit=False: |f_i · g_j| without the norms.
    same: F is G, and a sample is not its own neighbour. Single precision: which of two neighbours
    that agree to 1e-7 comes first does not matter here.
    """
    values = np.empty((len(F), k), dtype=np.float32)
    columns = np.empty((len(F), k), dtype=np.int32)
    for start, tile in _tiles(F, G, ranks, unit):
        if same:
            i = torch.arange(len(tile), device=tile.device)
            tile[i, start + i] = -1
        top = tile.topk(k, dim=1)
        values[start : start + len(tile)] = top.values.cpu().numpy()
        columns[start : start + len(tile)] = top.indices.cpu().numpy()
    return values ** (1 / len(ranks)), columns


def _tiles(F: Tensor, G: Tensor, ranks: Sequence[int], unit: bool) -> Iterator[tuple[int, Tensor]]:
    """First row and product over the ranks, of some rows after the other."""
    F, G = F.float(), G.float()
    left, right = ([_reciprocal(A[:, :r], unit) for r in ranks] for A in (F, G))
    parts = list(zip((0, *ranks[:-1]), ranks, strict=True))
    floor = FLOOR if len(ranks) > 1 else 0.0
    # one room for all tiles: fresh ones fragment the heap to GBs
    rows = min(len(F), max(1, TILE_ENTRIES // len(G)))
    gram, now, product = torch.empty(3, rows, len(G), dtype=F.dtype, device=F.device)
    for start in range(0, len(F), rows):
        some = slice(start, min(start + rows, len(F)))
        m = some.stop - start
        for t, (a, b) in enumerate(parts):  # each rank adds its new directions
            torch.addmm(gram[:m], F[some, a:b], G[:, a:b].T, beta=float(t > 0), out=gram[:m])
            torch.mul(gram[:m], left[t][some, None], out=now[:m]).mul_(right[t]).abs_().add_(floor)
            product[:m].mul_(now[:m]) if t else product[:m].copy_(now[:m])
        yield start, product[:m]


def _reciprocal(F: Tensor, unit: bool) -> Tensor:
    """1/‖f_i‖, 0 for a zero row: it is like nobody. Ones where norms do not count."""
    if not unit:
        return torch.ones_like(F[:, 0])
    length = torch.linalg.vector_norm(F, dim=1)
    return torch.where(length > 0, 1 / length, 0.0)


def weighted(
    F: Tensor,
    G: Tensor,
    ranks: Sequence[int],
    *,
    k: int,
    power: float = 1,
    scales: Sequence[int] = (1,),
    unit: bool = True,
    same: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """``nearest`` with weights: similarity^power, times the number of the neighbourhoods of
    k/scale samples that hold the pair.
    """
    similarity, columns = nearest(F, G, ranks, k=k, unit=unit, same=same)
    held = np.arange(k)[:, None] < np.maximum(1, k // np.asarray(scales))
    return similarity.astype(float) ** power * held.sum(1), columns


def neighbour_graph(F: Tensor, ranks: Sequence[int], *, k: int, **how: Any) -> csr_matrix:
    """Sparse symmetric graph of each row's k nearest others, F: (n, R); how: see ``weighted``.

    An edge that both ends chose counts twice.
    """
    n, k = len(F), min(k, len(F) - 1)
    weights, columns = weighted(F, F, ranks, k=k, same=True, **how)
    graph = csr_matrix((weights.ravel(), columns.ravel(), np.arange(n + 1) * k), shape=(n, n))
    return graph + graph.T


def exact_clusters(V: Tensor, n_clusters: int, tol: float) -> np.ndarray | None:
    """The K clusters of a union of independent subspaces without noise, (n,); None if V is none.

    V: (R, n) orthonormal rows, R the rank of the data; tol: what counts as zero. A set S of points
    is a union of clusters exactly when P commutes with its indicator, that is, when V_S V_Sᵀ is a
    projector. Its trace is the dimension of the points' span, and a set that is no larger than
    that has no structure: lone points do not count.
    O(n·R²) time.
    """
    labels = torch.full((V.shape[1],), -1, device=V.device)
    W = V / torch.linalg.vector_norm(V, dim=0).clamp(min=tol)
    for k in range(n_clusters):
        left = (labels < 0).nonzero()[:, 0]
        if not len(left):
            return None
        inside = (W.T @ W[:, left[:1]]).abs().amax(1) > tol
        for _ in range(GROWTH):  # once, unless points of one cluster are orthogonal
            if inside.all():
                return None
            gram = V[:, inside] @ V[:, inside].T
            if (gram @ gram - gram).abs().max() <= tol:
                break
            some = inside.nonzero()[:, 0]
            some = some[:: max(1, len(some) // SOME)]
            inside = inside | ((W.T @ W[:, some]).abs().amax(1) > tol)
        else:
            return None
        if (labels[inside] >= 0).any() or int(inside.sum()) <= float(gram.trace()) + 0.5:
            return None
        labels[inside] = k
    return labels.cpu().numpy() if (labels >= 0).all() else None

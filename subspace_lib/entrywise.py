"""The reference bound entry by entry, and the clusters that it certifies.

Notation as in ``reference``: R (k, n) orthonormal rows, P = RᵀR, Q = P_k(Y).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certificate import INF, Certificate
from subspace_lib.clustering import cluster_trees, weakest_edge
from subspace_lib.reference import Comparison, compare_checked
from subspace_lib.rowspace import top_norm


@dataclass(frozen=True)
class _Entries:
    linear: Tensor  # L = V F₀ᵀ + F₀ Vᵀ, the first-order change of P
    remainder: Tensor  # |(Q − P − L)_ij| is at most this
    direct: Tensor  # |(Q − P)_ij| is at most this
    third: Tensor  # Q₁, the projector onto the columns of V + F₀
    third_remainder: Tensor  # |(Q − Q₁)_ij| is at most this
    lower: Tensor  # lower ≤ |Q_ij| ≤ upper, from the best of the three; 0 and ∞ where vacuous
    upper: Tensor

    def differences(self, found: Comparison) -> dict[str, Tensor]:
        """The three bounds on |Q − P|_ij for the P = RᵀR of the R that was given."""
        p = torch.linalg.vector_norm(found.V, dim=-1)
        given = found.skew[..., None, None] * p[..., :, None] * p[..., None, :]
        moved = (self.third - found.V @ found.V.mT).abs()
        return {
            "A": self.direct + given,
            "B": self.linear.abs() + self.remainder + given,
            "C": moved + self.third_remainder + given,
        }


@dataclass(frozen=True)
class _Rows:
    """Per point: p = √P_jj, g, η and μ, bounds on Q(I − P)e_j, on row j of PQ(I − P) beyond F₀ and
    of F − F₀; (..., n) each.

    slope: ‖F₀‖; step: a bound on ‖F − F₀‖, tangent on ‖F‖, sine on sin θ, rounding on what the
    fixed-point equation gains in floating point (the three errors of ``_tangent``); (..., 1) each.
    """

    p: Tensor
    g: Tensor
    eta: Tensor
    mu: Tensor
    slope: Tensor
    step: Tensor
    tangent: Tensor
    sine: Tensor
    rounding: Tensor
    vacuous: Tensor


def _rows(found: Comparison) -> _Rows:
    F0, slack, bound = found.F0, found.slack[..., None], found.sine[..., None]
    s = (found.s[..., None] - slack).clamp(min=torch.finfo(F0.dtype).tiny)
    sine, t = bound.clamp(max=1), found.t[..., None] + slack
    # (I − P) − FVᵀ passes the rounding on to row j with a factor of at most 1 + γ_j, to F − F₀
    # with one of 1/cos θ.
    x, ratio, rounding = (t / s) ** 2, t / s**2, 3 * slack / s
    leak = ratio * sine * (torch.linalg.vector_norm(found.E, dim=-2) + slack)
    room = 1 - x * sine**2 - rounding
    vacuous, room = (bound == INF) | (room <= 0) | (sine == 1), torch.where(room > 0, room, 1.0)
    reach = torch.linalg.vector_norm(F0, dim=-1) + rounding + leak
    g, gamma, slope = reach / (1 - rounding), reach / room, top_norm(F0)[..., None]
    eta = (slope * sine + rounding) * g + leak + rounding
    mu = x * sine**2 * gamma + leak + rounding * (1 + gamma)
    cosine = ((1 - sine) * (1 + sine)).sqrt()
    tangent, step = sine / cosine, (x * sine + rounding) / cosine
    p = torch.linalg.vector_norm(found.V, dim=-1)
    return _Rows(p, g, eta, mu, slope, step, tangent, sine, rounding, vacuous)


def _entries(found: Comparison) -> _Entries:
    V, F0, rows = found.V, found.F0, _rows(found)
    check.room(24 * found.s.numel() * V.shape[-2] ** 2, "Y: its n×n bounds", V.device)
    p, g, eta, one = rows.p, rows.g, rows.eta, torch.ones_like(rows.p)
    # The last term is for forming P, L and Q in floating point.
    square = (g, g), (rows.sine**2 * p, p), (rows.rounding * one, one)
    remainder = _sum_of_outer((p, eta), (eta, p), *square)
    direct = _sum_of_outer((p, g), (g, p), *square)
    third, third_remainder = _third_order(V, F0, rows)
    P, linear = V @ V.mT, torch.cat([V, F0], -1) @ torch.cat([F0, V], -1).mT
    if rows.vacuous.any():
        vacuous = rows.vacuous[..., None]
        remainder, direct, third_remainder = (
            torch.where(vacuous, INF, A) for A in (remainder, direct, third_remainder)
        )
        third = torch.where(vacuous, P, third)
    pairs = (P, direct), (P + linear, remainder), (third, third_remainder)
    lower = torch.stack([centre.abs() - width for centre, width in pairs]).amax(0).clamp(min=0)
    upper = torch.stack([centre.abs() + width for centre, width in pairs]).amin(0)
    lower, upper = torch.minimum(lower, lower.mT), torch.maximum(upper, upper.mT)  # rounding
    return _Entries(linear, remainder, direct, third, third_remainder, lower, upper)


def _third_order(V: Tensor, F0: Tensor, rows: _Rows) -> tuple[Tensor, Tensor]:
    """Q₁ and the bound on |Q − Q₁|_ij: the smaller of two that differ by exchanging i and j."""
    graph = V + F0
    basis, T = torch.linalg.qr(graph)
    a = torch.linalg.vector_norm(graph, dim=-1)
    c = torch.linalg.solve_triangular(T.mT, basis, upper=False, left=False)  # (V + F₀)G₁⁻¹
    c = torch.linalg.vector_norm(c, dim=-1)
    one, reach = torch.ones_like(a), a + rows.mu
    across = rows.mu + c * (rows.slope * rows.step)
    along = rows.mu + reach * (rows.step * rows.tangent)
    found = _sum_of_outer((across, reach), (c, along), (rows.rounding * one, one))
    return basis @ basis.mT, torch.minimum(found, found.mT)


def _sum_of_outer(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Σ a bᵀ over pairs of vectors (..., n), as one matrix product."""
    left, right = (torch.stack(vectors, -1) for vectors in zip(*pairs, strict=True))
    return left @ right.mT


def entrywise_bound(Y: Tensor, R: Tensor) -> Certificate:
    """|Q − P| entry by entry, Q = P_k(Y): the best of three bounds; ``bound`` is (..., n, n).

    With e_j = ‖E e_j‖, f_j the norm of row j of F₀, x = t²/s², sin θ = τ/√(1 + τ²),
    l_j = (t/s²) sin θ e_j, g_j = f_j + l_j, η_j = ‖F₀‖ sin θ g_j + l_j,
    μ_j = x sin²θ g_j/(1 − x sin²θ) + l_j, and a_j, c_j the row norms of V + F₀ and
    (V + F₀)(I + F₀ᵀF₀)⁻¹:
      (A) |Q − P|_ij     ≤ √P_ii g_j + √P_jj g_i + g_i g_j + sin²θ √(P_ii P_jj)
      (B) |Q − P − L|_ij ≤ √P_ii η_j + √P_jj η_i + g_i g_j + sin²θ √(P_ii P_jj), L = VF₀ᵀ + F₀Vᵀ
      (C) |Q − Q₁|_ij    ≤ (μ_i + c_i ‖F₀‖ xτ)(a_j + μ_j) + c_i (μ_j + (a_j + μ_j) xτ²), and the
          same with i and j exchanged; Q₁ the projector onto the columns of V + F₀
    Orders 1, 2 and 3 in the size of E; proofs in chapter 9.
    terms: "A", "B", "C", the three bounds on |Q − P|; "centre" P + L and "remainder" of (B),
    "centre C" Q₁ and "remainder C"; and "lower" ≤ |Q_ij| ≤ "upper" (0 and ∞ where vacuous).
    Forms n×n matrices, about two dozen per trial: for n up to some thousands.
    Y: (..., p, n), R: (..., k, n) with orthonormal rows. ∞ where s ≤ t. Computed in float64.
    Rounding: as in ``reference_bound``; the errors of size slack are carried through the
    fixed-point equation to each row, and one more 3 slack/s stands for forming P, L, Q₁ and Q.
    Raises ValueError for R without orthonormal rows or mismatched columns.

    >>> change = (sl.row_projector(noisy.X, 6) - P).abs()
    >>> bound = sl.entrywise.entrywise_bound(noisy.X, R).bound
    >>> bool((change <= bound).all()), bool(bound.max() < 0.1)
    (True, True)
    """
    found = compare_checked(Y, R)
    entries = _entries(found)
    differences = entries.differences(found)
    terms = {
        "σ_k(YRᵀ)": found.s * found.scale,
        "s_{k+1}(Y)": found.t * found.scale,
        "sin θ": found.sine,
        **differences,
        "centre": found.V @ found.V.mT + entries.linear,
        "remainder": entries.remainder,
        "centre C": entries.third,
        "remainder C": entries.third_remainder,
        "lower": entries.lower,
        "upper": entries.upper,
    }
    quantity, bound = "|Q − P| entry by entry", torch.stack([*differences.values()]).amin(0)
    return Certificate("Entrywise bound", quantity, found.gap, found.threshold, bound, terms)


@dataclass(frozen=True, repr=False)
class ClusterCertificate(Certificate):
    """gap: the weakest edge that clusters need, at least; threshold: the largest |Q_ij| across
    clusters, at most. certified: (..., n) points for which the conclusion holds among themselves.
    used: (...) a threshold c for ``certified``, midway between the largest possible edge across and
    the weakest certain edge that is needed among these points; NaN where no point is certified.
    """

    certified: Tensor = None  # type: ignore[assignment]
    used: Tensor = None  # type: ignore[assignment]

    @property
    def certified_share(self) -> Tensor:
        """Share of the points, (...): 1 where the certificate holds."""
        return self.certified.double().mean(-1)


def certify_clusters(
    Y: Tensor, R: Tensor, labels: Any, *, share: bool = True
) -> ClusterCertificate:
    """Certify that thresholding |Q|, Q = P_k(Y), returns exactly the clusters of ``labels``.

    The entrywise bounds give lower ≤ |Q_ij| ≤ upper. If some c has upper ≤ c for every pair across
    clusters, and the graph {lower > c} is connected inside each cluster, then the components of
    {|Q_ij| > c} are exactly the clusters. R need not be block diagonal. The smallest possible c
    is ``threshold``; the certificate holds if and only if any c works.
    Where it fails, points that spoil it are removed: with c = ``used``, the points in
    ``certified``, taken alone, satisfy the two conditions, so the components of {|Q_ij| > c} among
    them are exactly the clusters. Every cluster keeps two points at least, or nothing is certified.
    It says nothing about the removed points, nor that no larger set exists.
    share=False decides ``holds`` only: certified is all or nothing, and the call several times
    faster.
    Y: (..., p, n), R: (..., k, n), labels: (n,). Raises as ``entrywise_bound``.

    >>> certificate = sl.certify_clusters(noisy.X, R, data.labels)
    >>> certificate.holds.item(), round(certificate.certified_share.item(), 2)
    (True, 1.0)
    """
    found = compare_checked(Y, R)
    entries = _entries(found)
    y = check.label_vector(labels, entries.lower.shape[-1])
    gap, threshold, certified, used = _decide(entries, y, share)
    bound = torch.stack([*entries.differences(found).values()]).amin(0)
    widths = torch.minimum(entries.remainder, entries.third_remainder)
    terms = {
        "sin θ": found.sine,
        "largest |Q − P|": bound.amax((-2, -1)),
        "largest remainder": widths.amax((-2, -1)),
    }
    statement, quantity = "Cluster certificate", "components of {|Q| > c}"
    return ClusterCertificate(
        statement, quantity, gap, threshold, found.sine, terms, certified, used
    )


def certified_share(found: Comparison, labels: Any) -> Tensor:
    """``certify_clusters(Y, R, labels).certified_share`` (...) for ``found = compare(Y, R, k)``."""
    entries = _entries(found)
    y = check.label_vector(labels, entries.lower.shape[-1])
    if not any(_conceivable(low, up, y) for low, up in _trials(entries.lower, entries.upper)):
        return torch.zeros_like(found.s)
    return _decide(entries, y, True)[2].double().mean(-1)


def _decide(entries: _Entries, y: np.ndarray, share: bool) -> tuple[Tensor, ...]:
    """gap, threshold, certified and used of a ``ClusterCertificate``."""
    lower, upper = entries.lower.detach(), entries.upper.detach()
    across = torch.from_numpy(y[:, None] != y[None, :]).to(lower.device)
    threshold = torch.where(across, upper, 0.0).amax((-2, -1))
    edges, order = cluster_trees(lower, y)
    gap = weakest_edge(edges)
    holds = (gap > 0) & (gap > threshold)
    certified = holds[..., None].expand(*holds.shape, len(y)).clone()
    middle = threshold + (gap.clamp(max=2 * threshold + 1) - threshold) / 2  # gap may be infinite
    used = torch.where(holds, middle, float("nan"))
    if share and not holds.all():
        trees = _trials(lower, upper, edges[..., None, :], order[..., None, :])
        for i, (low, up, (tree,), (visits,)) in enumerate(trees):
            if not holds.flatten()[i]:
                points, used.view(-1)[i] = _certified_points(low, up, tree, visits, y)
                certified.view(-1, len(y))[i] = torch.from_numpy(points)
    return gap, threshold, certified, used


def _trials(*batches: Tensor) -> Iterator[tuple[np.ndarray, ...]]:
    """The matrices of one trial after the other, as arrays."""
    return zip(*(A.reshape(-1, *A.shape[-2:]).cpu().numpy() for A in batches), strict=True)


@check.numpy_in_numpy_out
def entrywise_margin(P: Tensor, labels: Any) -> Tensor:
    """ε = ε_conn(P) − max |P_ij| across clusters, for P that need not be block diagonal.

    If ε > 0 and ‖P − Q‖_max < ε/2, Q symmetric, the components of {|Q_ij| > c} with
    c = ε_conn − ε/2 are exactly the clusters. For block diagonal P it is ``connectivity_margin``.
    P: (..., n, n) symmetric, labels: (n,). Returns (...); negative where P itself leaks too much.
    """
    P = check.square(P, "P")
    y, size = check.label_vector(labels, P.shape[-1]), P.detach().abs()
    across = torch.from_numpy(y[:, None] != y[None, :]).to(P.device)
    leak = size.masked_fill(~across, 0).amax((-2, -1))
    return weakest_edge(cluster_trees(size, y)[0]) - leak


COARSE, FINE = 10, 6  # thresholds tried over all edges, and again around the best of them


def _certified_points(
    lower: np.ndarray, upper: np.ndarray, tree: np.ndarray, order: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, float]:
    """The largest set found, and its threshold: a coarse search over c, then a finer one.

    tree, order: ``cluster_trees`` of lower.
    Only thresholds just below an edge of the clusters' spanning trees matter: between two of them
    nothing is gained inside the clusters, and a larger c excludes more edges across.
    """
    nothing = np.zeros(len(y), dtype=bool), float("nan")
    if not np.isfinite(upper).all() or not _conceivable(lower, upper, y):
        return nothing
    edges = np.unique(tree[tree > 0])
    if len(edges) == 0:
        return nothing
    tried: dict[int, np.ndarray] = {}
    inside, across = ~np.eye(len(y), dtype=bool) & (y[:, None] == y), y[:, None] != y

    def size(i: int) -> int:
        if i not in tried:
            c = np.nextafter(edges[i], 0)
            main = _main_components(tree, order, c, y)
            tried[i] = _kept(main, (lower > c) & inside, (upper > c) & across, y)
        return int(tried[i].sum())

    # geometric, because the first few edges matter where the whole nearly holds
    grid = np.unique(np.geomspace(1, len(edges), COARSE).astype(int) - 1).tolist()
    best = max(grid, key=size)
    place = grid.index(best)
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    best = max(np.unique(np.linspace(low, high, FINE + 2).astype(int)).tolist(), key=size)
    if not size(best):
        return nothing
    # However the set was found, the two conditions are evaluated afresh for it.
    alive = np.flatnonzero(tried[best])
    among = np.ix_(alive, alive)
    weakest = float(weakest_edge(cluster_trees(torch.from_numpy(lower[among]), y[alive])[0]))
    possible = float(upper[among][across[among]].max(initial=0))
    c = min(possible + (weakest - possible) / 2, np.nextafter(weakest, 0))
    return (tried[best], c) if possible <= c < weakest else nothing


def _conceivable(lower: np.ndarray, upper: np.ndarray, y: np.ndarray) -> bool:
    """False if no c leaves each cluster a certain edge and each two clusters a harmless pair.

    A certified set has both, so that False rules every set out, at the cost of one look.
    """
    classes = [np.flatnonzero(y == k) for k in range(y.max() + 1)]
    certain, harmless = INF, 0.0
    for k, mine in enumerate(classes):
        block = lower[np.ix_(mine, mine)]
        np.fill_diagonal(block, 0)
        certain = min(certain, block.max() if len(mine) > 1 else INF)
        for other in classes[:k]:
            harmless = max(harmless, upper[np.ix_(mine, other)].min())
    return certain > harmless


def _main_components(tree: np.ndarray, order: np.ndarray, c: float, y: np.ndarray) -> np.ndarray:
    """In each cluster the largest group connected by edges > c: mask (n,)."""
    chosen = np.zeros(len(y), dtype=bool)
    cuts = np.concatenate([[0], 1 + np.flatnonzero(tree <= c), [len(order)]])
    size, cluster = np.diff(cuts), y[order[cuts[:-1]]]
    for k in range(y.max() + 1):
        longest = int(np.where(cluster == k, size, 0).argmax())
        chosen[order[cuts[longest] : cuts[longest + 1]]] = True
    return chosen


def _kept(main: np.ndarray, certain: np.ndarray, wrong: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points without a possible edge across, each cluster connected by certain edges.

    main: the main component of each cluster, to begin with; certain: (n, n) edges inside the
    clusters, wrong: across; boolean, symmetric, without diagonal. The worst offenders go first,
    then what has lost its connection; last, every point that has become harmless is taken back.
    Nothing is kept where a cluster would be left without two points (or its only one).
    """
    kept = _without_wrong_pairs(wrong, main)
    degree = kept.astype(np.float32) @ certain.astype(np.float32)  # sums of booleans are slow
    for k in range(y.max() + 1):
        mine = kept & (y == k)
        if mine.any():
            kept = kept & ~mine | _largest_component(certain, mine, degree)
    blocked, reached = wrong[kept].any(0), certain[kept].any(0)
    while (free := reached & ~blocked & ~kept).any():
        j = int(np.flatnonzero(free)[wrong[free].sum(1).argmin()])
        kept[j] = True
        blocked |= wrong[j]
        reached |= certain[j]
    left, had = np.bincount(y[kept], minlength=y.max() + 1), np.bincount(y)
    return kept if (left >= np.minimum(had, 2)).all() else np.zeros_like(kept)


def _without_wrong_pairs(wrong: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Greedy: remove the point with the most possible edges across clusters, until none is left."""
    kept, rows = kept.copy(), wrong.astype(np.float32)
    count = np.where(kept, kept.astype(np.float32) @ rows, -INF)
    while count[j := int(count.argmax())] > 0:
        kept[j] = False
        count -= rows[j]
        count[j] = -INF
    return kept


def _largest_component(edges: np.ndarray, points: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Mask of the largest connected group of the points (at least one), all masks (n,)."""
    best = np.arange(len(points)) == points.argmax()  # where no point has a neighbour
    rest = points & (degree > 0)
    while rest.sum() > best.sum():
        group = np.zeros_like(rest)
        group[np.where(rest, degree, 0).argmax()] = True
        front = group
        while front.any():  # the points one step further, until there are none
            front = edges[front].any(0) & points & ~group
            group = group | front
        rest &= ~group
        if group.sum() > best.sum():
            best = group
    return best

"""Chapter 2, The projector encodes the clustering."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from evidence import instances as make
from evidence.statement import Sides, statement
from evidence.unions_of_subspaces.statements import (
    NEARLY,
    bases,
    coefficients,
    dims,
    make_dependent,
)
from subspace_lib.clustering import connectivity_margin, minimum_margin
from subspace_lib.projectors import row_projector

EPS = torch.finfo(torch.float64).eps


def gram_formula(V: Tensor) -> Tensor:
    """Vᵀ(VVᵀ)⁻¹V for V (..., r, n) of full row rank."""
    return V.mT @ torch.linalg.solve(V @ V.mT, V)


def _same_projector(U: Tensor, V: Tensor, G: Tensor, r: int) -> Sides:
    """P_r(UV) against the pseudo-inverse, against P_r(GUV), and against the formula in V."""
    A = U @ V
    P = row_projector(A, r)
    pairs = (torch.linalg.pinv(A, rtol=1e-9) @ A, row_projector(G @ A, r), gram_formula(V))
    scale = make.norm(G) * make.norm(A)
    weakest = torch.linalg.svdvals(G @ A)[..., r - 1]
    allowed = 1e-9 + 1e3 * EPS * scale / weakest  # rounding in GA, seen by its weakest direction
    return Sides(torch.stack([make.largest(P - Q) for Q in pairs]).amax(0), allowed)


def _row_space(seed: int, count: int) -> Sides:
    r, m, n, q = make.shape(seed, r=(1, 4), m=(0, 4), n=(0, 8), q=(0, 6))
    U = make.with_spectrum(
        seed, "U", r + m, r, make.log_uniform(seed, "u", -1, 1, count, r)
    )  # full column rank, not orthonormal
    V = make.with_spectrum(seed, "V", r, r + n, make.log_uniform(seed, "v", -1, 1, count, r))
    G = make.gaussian(seed, "G", count, r + q, r + m)  # injective on range(U); often not on R^m
    return _same_projector(U, V, G, r)


def _kills_a_direction() -> Sides:
    """G annihilates a signal direction that no longer counts among the leading two."""
    A = torch.diag(make.vector(3.0, 2, 1))
    P, Q = row_projector(A[:, :2] @ A[:2], 2), row_projector(make.matrix([[0, 0, 0], [0, 1, 0]]), 1)
    return make.rounding(make.largest(P - Q)[None])


def _more_than_rank() -> Sides:
    """rank A = 2 and r = 1: a diagonal G exchanges the order of the two directions."""
    A, G = make.matrix([[2, 0], [0, 1]]), make.matrix([[1, 0], [0, 3]])
    return make.rounding(make.largest(row_projector(G @ A, 1) - row_projector(A, 1))[None])


def _wide_factor() -> Sides:
    """U of rank 1: Vᵀ(VVᵀ)⁻¹V is the identity, but A = UV has rank 1."""
    U, V = make.matrix([[1, 1]]), make.matrix([[1, 0], [0, 1]])
    return make.rounding(make.largest(row_projector(U @ V, 1) - gram_formula(V))[None])


statement(
    "only-row-space",
    "Lemma 2.2",
    "P_r(A) = A⁺A = P_r(GA) = Vᵀ(VVᵀ)⁻¹V",
    _row_space,
    {
        "G injective on the column space": _kills_a_direction,
        "rank A = r": _more_than_rank,
        "U of full column rank": _wide_factor,
    },
    form="identity",
)


def _is_block_diagonal(P: Tensor, counts: list[int]) -> Tensor:
    return make.largest(P * make.across(counts)) < 1e-9


def _encoding(seed: int, count: int) -> Sides:
    """Half of the instances with independent spans, half with one direction too few."""
    sizes = dims(seed)
    (m,) = make.shape(seed, m=(sum(sizes), sum(sizes) + 3))
    counts = make.shape(seed, **{f"n{k}": (r, r + 3) for k, r in enumerate(sizes)})
    U, V = bases(seed, count, m, sizes), coefficients(seed, count, sizes, counts)
    half = count // 2 if len(sizes) > 1 else 0
    found = []
    for U_part, V_part, lost in (
        (make_dependent(U[:half], sizes) if half else U[:0], V[:half], 1),
        (U[half:], V[half:], 0),
    ):
        s, r = torch.linalg.svdvals(U_part), sum(sizes) - lost
        keep = s[:, r - 1] > NEARLY  # clearly of this rank
        U_part, V_part = U_part[keep], V_part[keep]
        if len(U_part) == 0:
            continue
        X = U_part @ V_part
        P = row_projector(X, r)
        parts = sum(make.count_rank(part) for part in X.split(counts, -1))
        wrong = _is_block_diagonal(P, counts) != (parts == make.count_rank(X))
        if not lost:
            wrong |= make.largest(P - gram_formula(V_part)) > 1e-7
        found.append(wrong)
    return make.flags(torch.cat(found))


def _rank_too_small() -> Sides:
    """Independent lines at 60°: the leading single direction mixes the two."""
    X = make.matrix([[1, 0.5], [0, 0.75**0.5]])
    return make.flags(~_is_block_diagonal(row_projector(X, 1), [1, 1])[None])


def _formula_for_dependent() -> Sides:
    """Three lines in a plane: the blocks of the formula are not the blocks of P."""
    U = make.matrix([[1, 0, 0.6], [0, 1, 0.8]])
    V = coefficients(0, 1, [1, 1, 1], [2, 2, 2])[0]
    return make.flags((make.largest(row_projector(U @ V, 2) - gram_formula(V)) > 1e-7)[None])


statement(
    "encoding",
    "Proposition 2.3",
    "P_r(X) is block diagonal ⇔ the spans of the parts are independent",
    _encoding,
    {
        "r = rank X": _rank_too_small,
        "independent subspaces (for the formula)": _formula_for_dependent,
    },
    form="identity",
)


def _lines(angles: Tensor, V: Tensor, rank: int) -> Sides:
    """1e-9 against the largest entry across lines and the smallest sine between two of them."""
    U = torch.stack([torch.cos(angles), torch.sin(angles)], -2)
    K = angles.shape[-1]
    cross = make.largest(row_projector(U @ V, rank) * make.across([V.shape[-1] // K] * K))
    sines = torch.sin(angles[..., :, None] - angles[..., None, :]).abs()
    apart = (sines + torch.eye(K)).amin((-2, -1))
    right = torch.minimum(cross, apart)
    return Sides(torch.full_like(right, 1e-9), right)


def _three_lines(seed: int, count: int) -> Sides:
    (n_k,) = make.shape(seed, n_k=(1, 6))
    angles = make.uniform(seed, "angles", 0, math.pi, count, 3)
    V = coefficients(seed, count, [1, 1, 1], [n_k] * 3)
    sines = torch.sin(angles[..., :, None] - angles[..., None, :]).abs() + torch.eye(3)
    keep = sines.amin((-2, -1)) > 1e-3  # clearly different
    return _lines(angles[keep], V[keep], 2)


def _two_lines() -> Sides:
    V = coefficients(0, 1, [1, 1], [2, 2])
    return _lines(torch.tensor([[0.0, 1.0]], dtype=torch.float64), V, 2)


def _same_line_twice() -> Sides:
    V = coefficients(0, 1, [1, 1, 1], [2, 2, 2])
    return _lines(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64), V, 2)


def _empty_line() -> Sides:
    """The third line carries zero points only."""
    V = coefficients(0, 1, [1, 1, 1], [2, 2, 2])
    V[:, 2] = 0
    return _lines(torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64), V, 2)


statement(
    "dependent-lines",
    "Counterexample 2.4",
    "three lines in a plane: |P_ij| > 0 for some pair across lines that meet only in 0",
    _three_lines,
    {
        "three lines": _two_lines,
        "different lines": _same_line_twice,
        "a non-zero point on each": _empty_line,
    },
    loose="the statement is that an entry is not zero, by any amount",
)


def _zero_entry(V: Tensor, G: Tensor) -> Sides:
    return make.rounding(row_projector(G @ V, 2)[..., 0, 1].abs())


PLANE = make.matrix([[1, 0, 1, 1], [0, 1, 1, -1]])


def _zero_inside(seed: int, count: int) -> Sides:
    """The coefficients of the statement in a random plane of R^m, in any basis of it."""
    (m,) = make.shape(seed, m=(2, 8))
    values = make.log_uniform(seed, "values", -1, 1, count, 2)
    return _zero_entry(PLANE, make.with_spectrum(seed, "G", m, 2, values))


def _other_points() -> Sides:
    V = PLANE.clone()
    V[1, 3] = -2
    return _zero_entry(V, make.eye(2)[None])


statement(
    "zero-inside-block",
    "Counterexample 2.5",
    "P_12 = 0 for V = [e₁, e₂, e₁+e₂, e₁−e₂], inside one cluster",
    _zero_inside,
    {"these coefficients": _other_points},
    form="identity",
)


def _splits(n: int) -> Tensor:
    """All partitions of n points into two non-empty sides: (2^(n−1) − 1, n) bool."""
    codes = torch.arange(1, 2 ** (n - 1))
    return (codes[:, None] >> torch.arange(n)) % 2 == 1


def _gram_rank(X: Tensor) -> Tensor:
    """Rank of matrices with small integer entries, from their Gram matrices."""
    return (torch.linalg.eigvalsh(X @ X.mT) > 1e-6).sum(-1)


def divisible(X: Tensor) -> Tensor:
    """Whether some split into two parts has independent spans, by trying all of them."""
    side = _splits(X.shape[-1])[:, None, :]
    both = _gram_rank(X[:, None] * side) + _gram_rank(X[:, None] * ~side)
    return (both == _gram_rank(X)[:, None]).any(-1)


def _indivisible(X: Tensor, ranks: Tensor, least: float = 1e-9) -> Sides:
    """Connected graph of P_rank(X) against "no split", instance by instance."""
    wrong = torch.zeros(len(X), dtype=torch.bool)
    for r in ranks.unique().tolist():
        chosen = ranks == r
        edges = row_projector(X[chosen], r).abs() > least
        wrong[chosen] = make.connected(edges) == divisible(X[chosen])
    return make.flags(wrong)


def _connected_or_split(seed: int, count: int) -> Sides:
    """Entries −1, 0, 1 with many zeros, so that about half of the clusters divide."""
    m, n, most = make.shape(seed, m=(1, 4), n=(2, 5), most=(4, 9))
    X = make.uniform(seed, "X", -1, 1, count, m, n) * most / 5
    X = X.round().clamp(-1, 1)
    X = X[_gram_rank(X) > 0]
    return _indivisible(X, _gram_rank(X))


def _leading_direction_only() -> Sides:
    """Two independent points, but P of rank 1 joins them."""
    return _indivisible(make.matrix([[1, 0.5], [0.5, 1]])[None], torch.tensor([1]))


def _large_entries_only() -> Sides:
    """i ~ j only for |B_ij| > 0.4: the graph of four equal points falls apart."""
    return _indivisible(torch.ones(1, 1, 4, dtype=torch.float64), torch.tensor([1]), 0.4)


statement(
    "connected-is-indivisible",
    "Proposition 2.6",
    "the graph {B_ij ≠ 0} is connected ⇔ no split into two independent spans",
    _connected_or_split,
    {
        "B = P_rank(X_k)": _leading_direction_only,
        "every non-zero entry is an edge": _large_entries_only,
    },
    form="identity",
)


def _bottleneck(weights: Tensor, cut: Tensor, tree: Tensor) -> Sides:
    """ "edges above the cut connect" against "the cut is below the tree's weakest edge"."""
    return make.flags(make.connected(weights > cut[:, None, None]) != (cut < tree))


def _weights(seed: int, count: int) -> Tensor:
    """Symmetric weights, on a coarse grid in half of the batches: ties."""
    n, grid = make.shape(seed, n=(2, 7), grid=(0, 1))
    A = make.uniform(seed, "weights", 0, 1, count, n, n)
    A = (A * 4).ceil() / 4 if grid else A
    missing = make.uniform(seed, "missing", 0, 1, count, n, n) < 0.3
    A = A.masked_fill(missing, 0).triu(1)
    A = A + A.mT
    return A[make.connected(A > 0)]


def _tree_and_threshold(seed: int, count: int) -> Sides:
    A = _weights(seed, count)
    tree = connectivity_margin(A, np.zeros(A.shape[-1], dtype=int))
    anywhere = make.uniform(seed, "cut", 0, 1, len(A))
    kind = make.uniform(seed, "kind", 0, 1, len(A))  # exactly at, just below, anywhere
    cut = torch.where(kind < 0.3, tree, torch.where(kind < 0.6, tree * (1 - 1e-12), anywhere))
    return _bottleneck(A, cut, tree)


def _forest() -> Sides:
    """Points 1–2 joined, point 3 alone: the forest's weakest edge is 1, nothing connects them."""
    A = make.matrix([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    return _bottleneck(A[None], torch.tensor([0.5]), torch.tensor([1.0]))


def _minimum_tree() -> Sides:
    """The weakest edge on a *minimum* spanning tree says less."""
    A = make.matrix([[0, 1, 0.2], [1, 0, 0.9], [0.2, 0.9, 0]])
    tree = torch.tensor([minimum_spanning_tree(csr_matrix(A.numpy())).data.min()])
    return _bottleneck(A[None], torch.tensor([0.5]), tree)


statement(
    "bottleneck",
    "Lemma 2.8",
    "edges of weight > c connect the graph ⇔ c < w",
    _tree_and_threshold,
    {"connected graph": _forest, "maximum spanning tree": _minimum_tree},
    form="identity",
)


def returns_clusters(Q: Tensor, cut: Tensor, counts: list[int]) -> Tensor:
    """Whether the components of {|Q_ij| > cut} are the clusters. Q: (..., n, n), cut: (...)."""
    return ~make.wrong_clusters(Q, make.labels(counts), cut)


def any_threshold(Q: Tensor, counts: list[int]) -> Tensor:
    """Whether any threshold at all returns the clusters: zero and every entry are tried."""
    n = Q.shape[-1]
    cuts = Q.abs()[:, *torch.triu_indices(n, n, 1)]
    cuts = torch.cat([torch.zeros(len(Q), 1, dtype=Q.dtype), cuts], -1)
    return returns_clusters(Q[:, None], cuts, counts).any(-1)


def attack(P: Tensor, eta: Tensor, counts: list[int]) -> Tensor:
    """The construction of the proof: η towards zero inside the blocks, η away from it across."""
    size = eta[:, None, None]
    smaller = P.sign() * (P.abs() - size).clamp(min=0)
    return torch.where(make.across(counts), P + torch.where(P < 0, -size, size), smaller)


def blocks(seed: int, count: int) -> tuple[Tensor, Tensor, list[int]]:
    """P, ε_conn and cluster sizes: projectors of 2 or 3 clusters, with connected blocks."""
    (K,) = make.shape(seed, K=(2, 3))
    sizes, more = (make.sizes(seed, name, K, 1, 2) for name in "rn")
    counts = [r + extra for r, extra in zip(sizes, more, strict=True)]
    P = row_projector(coefficients(seed, count, sizes, counts), sum(sizes))
    P = P.masked_fill(make.across(counts), 0)
    margin = connectivity_margin(P, make.labels(counts))
    return P[margin > 1e-6], margin[margin > 1e-6], counts


def _connectivity(seed: int, count: int) -> Sides:
    """Disturbances up to just below ε/2, random and worst; and the attack from ε/2 on."""
    P, margin, counts = blocks(seed, count)
    N = make.uniform(seed, "N", -1, 1, *P.shape)
    N = (N + N.mT) / make.largest(N + N.mT)[:, None, None]
    share = 1 - make.log_uniform(seed, "share", -9, 0, len(P))
    eta = share * margin / 2
    kept = returns_clusters(P + eta[:, None, None] * N, margin / 2, counts)
    kept &= returns_clusters(attack(P, eta, counts), margin / 2, counts)
    beyond = margin / 2 * (1 + make.uniform(seed, "beyond", 0, 2, len(P)).round(decimals=1))
    return make.flags(~kept | any_threshold(attack(P, beyond, counts), counts))


def _half_margin() -> Sides:
    P, margin, counts = blocks(0, 5)
    Q = attack(P, margin / 2, counts)
    return make.flags(~returns_clusters(Q, margin / 2, counts))


def _broken_block() -> Sides:
    """A block without an edge between its points: no disturbance, and two components."""
    P = make.eye(4)
    P[:2, :2] = 0.5
    return make.flags(~returns_clusters(P[None], torch.tensor([0.25]), [2, 2]))


def _cross_entries() -> Sides:
    """Entries across clusters above the threshold, and no disturbance at all."""
    P = torch.full((4, 4), 0.5, dtype=torch.float64)
    P[:2, 2:] = P[2:, :2] = 0.4
    return make.flags(~returns_clusters(P[None], torch.tensor([0.25]), [2, 2]))


def _weak_attack() -> Sides:
    """The sharpness claim below ε/2: there a threshold does return the clusters."""
    P, margin, counts = blocks(0, 5)
    return make.flags(any_threshold(attack(P, 0.49 * margin, counts), counts))


statement(
    "margin-is-sharp",
    "Theorem 2.9",
    "‖P − Q‖_max < ε_conn/2 ⇒ the components are the clusters; from ε_conn/2 on they need not",
    _connectivity,
    {
        "‖P − Q‖_max < ε_conn/2": _half_margin,
        "connected blocks": _broken_block,
        "P zero across clusters": _cross_entries,
        "η ≥ ε_conn/2 (sharpness)": _weak_attack,
    },
    form="identity",
)


def _prices(P: Tensor, r: int) -> tuple[Sides, Sides]:
    """ε_min against √r/n, and ε_conn against min_i √(P_ii(1 − P_ii)), for one block."""
    n = P.shape[-1]
    labels = np.zeros(n, dtype=int)
    least = minimum_margin(P, labels)
    own = P.diagonal(dim1=-2, dim2=-1)
    price = (own * (1 - own)).clamp(min=0).sqrt().amin(-1)
    slack = 1e-12  # entries that cancel leave rounding
    first = Sides(least, torch.full_like(least, r**0.5 / n) + slack)
    return first, Sides(connectivity_margin(P, labels), price + 1e-7)


def _price(seed: int, count: int) -> Sides:
    (r,) = make.shape(seed, r=(1, 4))
    (n,) = make.shape(seed, n=(r + 1, r + 8))
    P = row_projector(coefficients(seed, max(1, count // 2), [r], [n]), r)
    return make.join(*_prices(P, r))


def _price_extremal() -> Sides:
    """Two equal points: P = ½ everywhere, ε_min = ε_conn = ½; the less tight of the two counts."""
    first, second = _prices(torch.full((1, 2, 2), 0.5, dtype=torch.float64), 1)
    return make.one(min(first.tightest, second.tightest), 1.0)


def _zeros_inside() -> Sides:
    """n_k = r_k = 2: the block is the identity, its smallest non-zero entry is 1 > √2/2."""
    return _prices(make.eye(2)[None], 2)[0]


def _scaled_projector() -> Sides:
    first, second = _prices(torch.ones(1, 2, 2, dtype=torch.float64), 1)
    return make.join(first, second)


statement(
    "price-of-margin",
    "Proposition 2.10",
    "ε_min ≤ √r_k/n_k without zeros, ε_conn ≤ min √(P_ii(1 − P_ii))",
    _price,
    {
        "no zero entry": _zeros_inside,
        "a cluster of two or more": lambda: _prices(torch.ones(1, 1, 1, dtype=torch.float64), 1)[1],
        "P is a projector": _scaled_projector,
    },
    _price_extremal,
)

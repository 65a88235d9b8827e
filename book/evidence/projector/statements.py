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
EYE = make.eye(6)


def choices(V: Tensor, s: Tensor, seed: int) -> Tensor:
    """Other right singular vectors for the values s (count, n): equal ones are mixed at random."""
    K = make.gaussian(seed, "mix", *V.shape)
    same = s[:, :, None] == s[:, None, :]
    return V @ torch.linalg.matrix_exp((K - K.mT) * same)  # a rotation that commutes with diag(s)


def _depends_on_choice(V: Tensor, s: Tensor, r: int, unique: Tensor, seed: int) -> Sides:
    """Whether ``unique`` is wrong about V_rV_rᵀ, over a random choice and the exchange of r, r + 1.

    V: (count, n, n) right singular vectors of A = diag(s)Vᵀ, also for s_j = 0. Each choice must
    be one of singular vectors, and where two projectors differ the exchange makes it by 1.
    """
    n, other, exchanged = V.shape[-1], choices(V, s, seed), V.clone()
    if r < n:
        exchanged[..., [r - 1, r]] = V[..., [r, r - 1]]
    gram = (V * s[:, None, :] ** 2) @ V.mT
    P, Q, R = (B[..., :r] @ B[..., :r].mT for B in (V, other, exchanged))
    residual = make.largest(gram @ other - other * s[:, None, :] ** 2)
    admissible = make.largest(gram @ exchanged - exchanged * s[:, None, :] ** 2) < 1e-9
    apart = (make.norm(P - Q) > 1e-9) | (admissible & ((make.norm(P - R) - 1).abs() < 1e-9))
    return make.flags((residual > 1e-9) | (apart == unique))


def _spectra(seed: int, count: int) -> tuple[Tensor, Tensor, int, int]:
    """V and s (count, n) with many ties, zero beyond min(m, n); r; min(m, n)."""
    m, n = make.shape(seed, m=(1, 6), n=(1, 6))
    (r,) = make.shape(seed, r=(1, n))
    s = make.uniform(seed, "s", 0, 3, count, n).floor().sort(-1, descending=True).values
    s[:, min(m, n) :] = 0
    return make.orthonormal(seed, "V", count, n, n), s, r, n


def _unique(seed: int, count: int) -> Sides:
    V, s, r, n = _spectra(seed, count)
    unique = torch.ones(count, dtype=torch.bool) if r == n else s[:, r - 1] > s[:, r]
    return _depends_on_choice(V, s, r, unique, seed)


def _only_by_the_gap() -> Sides:
    """A singular, r = n: no gap, for s_{n+1} = 0, and yet V_nV_nᵀ = I whatever the choice."""
    s = make.matrix([[2, 0]])
    return _depends_on_choice(EYE[None, :2, :2], s, 2, s[:, 1] > 0, 0)


def _tie() -> Sides:
    """A tie, taken for unique."""
    return _depends_on_choice(
        EYE[None, :2, :2], make.matrix([[1, 1]]), 1, torch.ones(1, dtype=torch.bool), 0
    )


statement(
    "projector-unique",
    "Lemma 2.2",
    "V_rV_rᵀ is the same for every choice of singular vectors ⇔ s_r > s_{r+1} or r = n",
    _unique,
    {"s_r > s_{r+1} where r < n": _tie, "r = n needs no gap": _only_by_the_gap},
    form="identity",
)


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
    "Lemma 2.3",
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
    "Proposition 2.4",
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
    "Counterexample 2.5",
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
    "Counterexample 2.6",
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
    "Proposition 2.7",
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
    "Lemma 2.9",
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
    """P, ε_conn and sizes: 2 or 3 clusters with connected blocks; mostly projectors."""
    (K,) = make.shape(seed, K=(2, 3))
    sizes, more = (make.sizes(seed, name, K, 1, 2) for name in "rn")
    counts = [r + extra for r, extra in zip(sizes, more, strict=True)]
    P = row_projector(coefficients(seed, count, sizes, counts), sum(sizes))
    if seed % 3 == 2:  # the theorem asks for symmetry only
        P = make.gaussian(seed, "symmetric", *P.shape)
        P = P + P.mT
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
    "Theorem 2.10",
    "P = Pᵀ, ‖P − Q‖_max < ε_conn/2 ⇒ the components are the clusters; beyond they need not",
    _connectivity,
    {
        "‖P − Q‖_max < ε_conn/2": _half_margin,
        "connected blocks": _broken_block,
        "P zero across clusters": _cross_entries,
        "η ≥ ε_conn/2 (sharpness)": _weak_attack,
    },
    form="identity",
)


def smallest_price(r: int, n: int) -> float:
    """What the smallest of all entries beside the diagonal may be at most: (2.1)."""
    return math.sqrt(r * (n - r) / (n**2 * (n - 1)))


def tree_price(r: int, n: int) -> float:
    """What n − 1 equal edges of a tree may be at most: (2.3)."""
    return math.sqrt(r * (n - r) / (2 * n * (n - 1)))


def _prices(P: Tensor, r: int) -> tuple[Sides, Sides, Sides]:
    """The three bounds of the statement for one block P (..., n, n) of rank r."""
    n = P.shape[-1]
    labels = np.zeros(n, dtype=int)
    least, tree = minimum_margin(P, labels), connectivity_margin(P, labels)
    own = P.diagonal(dim1=-2, dim2=-1)
    vertex = (own * (1 - own)).clamp(min=0).sqrt().amin(-1)
    return (
        Sides(least, torch.full_like(least, smallest_price(r, n)) + 1e-12),
        Sides(tree, vertex + 1e-7),  # a diagonal entry near 0 or 1 has lost half of its digits
        Sides(tree, torch.full_like(tree, tree_price(r, n)) + 1e-12),
    )


def star(n: int) -> Tensor:
    """A line with one long point and n − 1 equal ones: all joined to the long one at ½(n−1)^−½."""
    v = torch.full((n,), 0.5**0.5 / (n - 1) ** 0.5, dtype=torch.float64)
    v[0] = 0.5**0.5
    return v[:, None] * v


def _price(seed: int, count: int) -> Sides:
    """Random blocks, and random lengths on a line; one bound each, in turn."""
    (r,) = make.shape(seed, r=(1, 4))
    (n,) = make.shape(seed, n=(r + 1, r + 8))
    P = row_projector(coefficients(seed, count, [r], [n]), r)
    if seed % 3 == 0:
        v = make.log_uniform(seed, "lengths", -2, 0, count, n)
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        P, r = v[:, :, None] * v[:, None, :], 1
    sides = _prices(P, r)
    turn = torch.arange(count) % 3
    left, right = (torch.stack([getattr(s, side) for s in sides]) for side in ("left", "right"))
    return Sides(left[turn, torch.arange(count)], right[turn, torch.arange(count)])


def _equiangular() -> list[tuple[Tensor, int]]:
    """Projectors whose entries beside the diagonal are all equal in size, and their ranks.

    Equal points on a line; the n vertices of a simplex; the six diagonals of an icosahedron.
    """
    found = [(torch.full((n, n), 1 / n, dtype=torch.float64), 1) for n in (2, 3, 5)]
    found += [(make.eye(n) - 1 / n, n - 1) for n in (3, 4, 7)]
    golden = (1 + 5**0.5) / 2
    half = make.matrix([[0, 1, golden], [0, 1, -golden]])
    six = torch.cat([half.roll(k, 1) for k in range(3)])
    return [*found, (six @ six.T / (2 + 2 * golden**2), 3)]


def _price_extremal() -> Sides:
    """The loosest of the cases in which the ratio of the two sides is known, divided by it.

    (2.1) is an equality on equiangular lines, (2.2) on two points of any lengths. A star of n
    points, and its complement of rank n − 1, is below (2.2) and (2.3) by the factors
    √((n−1)/(2n−3)) and √(n/(2(n−1))): both are 1 for n = 2.
    """
    angles = torch.arange(1, 8) * math.pi / 16
    v = torch.stack([angles.cos(), angles.sin()], -1).double()
    vertex = _prices(v[:, :, None] * v[:, None, :], 1)[1]
    tight = [*(vertex.left / vertex.right).tolist()]
    tight += [_prices(P[None], r)[0].tightest for P, r in _equiangular()]
    for n in (2, 3, 5, 9):
        for P, r in ((star(n), 1), (make.eye(n) - star(n), n - 1)):
            _, vertex, tree = _prices(P[None], r)
            tight.append(vertex.tightest / math.sqrt((n - 1) / (2 * n - 3)))
            tight.append(tree.tightest / math.sqrt(n / (2 * (n - 1))))
    return make.one(max(tight, key=lambda ratio: abs(ratio - 1)), 1 + 1e-6)


def _zeros_inside() -> Sides:
    """n_k = r_k = 2: the block is the identity, its smallest non-zero entry is 1, the bound 0."""
    return _prices(make.eye(2)[None], 2)[0]


def _single_point() -> Sides:
    """A single point has no edge: ε_conn = ∞, and P(1 − P) = 0."""
    P = torch.ones(1, 1, 1, dtype=torch.float64)
    return make.one(connectivity_margin(P, np.zeros(1, dtype=int))[0], 0.0)


def _scaled_projector() -> Sides:
    return make.join(*_prices(torch.ones(1, 2, 2, dtype=torch.float64), 1))


statement(
    "price-of-margin",
    "Proposition 2.11",
    "ε_min ≤ √(r(n−r)/(n²(n−1))) without zeros, ε_conn ≤ min √(P_ii(1−P_ii)), √(r(n−r)/(2n(n−1)))",
    _price,
    {
        "no zero entry": _zeros_inside,
        "a cluster of two or more": _single_point,
        "P is a projector": _scaled_projector,
    },
    _price_extremal,
)

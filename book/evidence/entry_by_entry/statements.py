"""Chapter 9, Entry by entry."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.projector.statements import attack
from evidence.statement import Sides, statement
from subspace_lib.entrywise import certify_clusters, entrywise_bound, entrywise_margin
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.rowspace import singular_value


def near(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Y (count, p, n) and orthonormal R (count, k, n) with s > t, from clean to nearly lost."""
    n, p, k = make.shape(seed, n=(4, 12), p=(3, 6), k=(1, 3))
    R = make.orthonormal(seed, "R", count, n, k).mT
    size = make.log_uniform(seed, "size", -3, 0, count, 1, 1)
    E = size * make.gaussian(seed, "E", count, p, n)
    Y = make.gaussian(seed, "mixing", count, p, k) @ R + E
    s = torch.linalg.svdvals(Y @ R.mT)[:, -1]
    keep = s > 1.01 * singular_value(Y, k + 1) + 1e-6
    return Y[keep], R[keep]


class Chart(NamedTuple):
    """The chapter's letters, each from its definition."""

    V: Tensor
    P: Tensor
    Q: Tensor
    F0: Tensor
    F: Tensor
    S: Tensor
    G: Tensor
    E: Tensor
    sigma: Tensor
    t: Tensor
    tau: Tensor
    eye: Tensor

    @property
    def sine(self) -> Tensor:
        return make.norm(self.S)

    @property
    def tangent(self) -> Tensor:
        return self.sine / (1 - self.sine**2).clamp(min=1e-30).sqrt()


def chart(Y: Tensor, R: Tensor, Q: Tensor | None = None) -> Chart:
    """Everything from Y and R; another projector Q may be given for the controls."""
    k, n = R.shape[-2:]
    U, sigma, Oh = torch.linalg.svd(Y @ R.mT, full_matrices=False)
    V, eye = R.mT @ Oh.mT, torch.eye(n, dtype=Y.dtype)
    P = V @ V.mT
    E = Y @ (eye - P)
    F0 = E.mT @ U / sigma[..., None, :]
    Q = row_projector(Y, k) if Q is None else Q
    basis = torch.linalg.svd(Q).U[..., :k]
    F = (eye - P) @ basis @ torch.linalg.pinv(V.mT @ basis)
    S, G = (eye - Q) @ V, (eye - Q) @ Y.mT @ Y @ (eye - Q)
    t = singular_value(Y, k + 1)
    tau = make.norm(F0) / (1 - (t / sigma[..., -1]) ** 2)
    return Chart(V, P, Q, F0, F, S, G, E, sigma, t, tau, eye)


def turned(theta: float = 0.7) -> tuple[Tensor, Tensor]:
    """A single row at the angle θ from the reference: t = 0 and tan θ = ‖F₀‖."""
    Y = make.matrix([[math.cos(theta), math.sin(theta)], [0, 0]])
    return Y[None], make.matrix([[1, 0]])[None]


def elsewhere() -> Chart:
    """The same with a projector that is not the row's own."""
    return chart(*turned(), make.matrix([[0.5, 0.5], [0.5, 0.5]])[None])


def exchanged() -> tuple[Tensor, Tensor]:
    """s = 0.5 < t = 0.8: two directions are stronger than the reference, which tilts a little."""
    Y = make.matrix([[0.5, 0.01, 0], [0, 1, 0], [0, 0, 0.8]])
    return Y[None], make.matrix([[1, 0, 0]])[None]


def _leftover(seed: int, count: int) -> Sides:
    c = chart(*near(seed, count))
    right = c.G @ c.S / c.sigma[..., None, :] ** 2 - (c.eye - c.Q) @ c.F0
    norm = (make.norm(c.G) - c.t**2).abs() / c.sigma[..., 0] ** 2
    broken = torch.maximum(make.largest(c.S - right), norm) > 1e-10 * (1 + c.tau)
    return Sides(torch.where(broken, 2 * c.tau + 1, c.tangent), c.tau * NEARLY + 1e-12)


def _leftover_extremal() -> Sides:
    c = chart(*turned())
    return Sides(c.tangent, c.tau * (1 + 1e-12))


def _leftover_without_gap() -> Sides:
    c = chart(*exchanged())
    return Sides(c.tangent, c.tau)


def _leftover_other_projector() -> Sides:
    c = elsewhere()
    right = c.G @ c.S / c.sigma[..., None, :] ** 2 - (c.eye - c.Q) @ c.F0
    return make.rounding(make.largest(c.S - right))


statement(
    "leftover",
    "Lemma 9.2",
    "S = G S Σ⁻² − (I − Q)F₀, ‖G‖ = t², tan θ ≤ τ",
    _leftover,
    {"s > t": _leftover_without_gap, "Q = P_k(Y)": _leftover_other_projector},
    _leftover_extremal,
)


def _graph_sides(c: Chart) -> Sides:
    k = c.V.shape[-1]
    inside = torch.linalg.inv(make.eye(k) + c.F.mT @ c.F)
    formula = make.largest((c.V + c.F) @ inside @ (c.V + c.F).mT - c.Q)
    norm = (make.norm(c.F) - c.tangent).abs() / (1 + c.tangent) ** 2
    N = torch.linalg.eigvalsh(make.eye(k) - inside)
    order = torch.maximum(-N[..., 0], N[..., -1] - c.sine**2)
    return make.rounding(torch.stack([formula, norm, order]).amax(0), 1e-8)


def _graph_at_a_right_angle() -> Sides:
    Y, R = make.matrix([[0, 1]])[None], make.matrix([[1, 0]])[None]
    return _graph_sides(chart(Y + 1e-300, R, make.eye(2) - R.mT @ R))


statement(
    "graph-over-reference",
    "Lemma 9.3",
    "Q = (V + F)(I + FᵀF)⁻¹(V + F)ᵀ, ‖F‖ = tan θ, 0 ⪯ I − (I + FᵀF)⁻¹ ⪯ sin²θ",
    lambda seed, count: _graph_sides(chart(*near(seed, count))),
    {"θ < 90°": _graph_at_a_right_angle},
    form="identity",
)


def _fixed_sides(c: Chart) -> Sides:
    right = c.F0 - ((c.eye - c.P) - c.F @ c.V.mT) @ c.G @ c.S / c.sigma[..., None, :] ** 2
    size = (1 + make.norm(c.F)) * (1 + make.norm(c.F0))
    return make.rounding(make.largest(c.F - right) / size, 1e-8)


statement(
    "fixed-point",
    "Lemma 9.4",
    "F = F₀ − ((I − P) − FVᵀ) G S Σ⁻²",
    lambda seed, count: _fixed_sides(chart(*near(seed, count))),
    {"Q = P_k(Y)": lambda: _fixed_sides(elsewhere())},
    form="identity",
)


class Rows(NamedTuple):
    """The row bounds of the chapter from their definitions; (..., n) each, ρ and x (..., 1)."""

    p: Tensor
    g: Tensor
    leak: Tensor
    rho: Tensor
    x: Tensor
    slope: Tensor
    tau: Tensor

    @property
    def gamma(self) -> Tensor:
        return self.g / (1 - self.x * self.rho**2)

    @property
    def mu(self) -> Tensor:
        return self.x * self.rho**2 * self.gamma + self.leak

    @property
    def eta(self) -> Tensor:
        return self.slope * self.rho * self.g + self.leak


def rows(c: Chart, with_leak: bool = True) -> Rows:
    s, t, tau = (v[:, None] for v in (c.sigma[..., -1], c.t, c.tau))
    rho = tau / (1 + tau**2).sqrt()
    leak = t / s**2 * rho * torch.linalg.vector_norm(c.E, dim=-2) * with_leak
    g = torch.linalg.vector_norm(c.F0, dim=-1) + leak
    p = torch.linalg.vector_norm(c.V, dim=-1)
    return Rows(p, g, leak, rho, (t / s) ** 2, make.norm(c.F0)[:, None], tau)


def _row_sides(c: Chart, with_leak: bool = True, divided: bool = True) -> Sides:
    """‖row of F‖ against γ and ‖row of F − F₀‖ against μ, at the worst row."""
    r = rows(c, with_leak)
    length = torch.linalg.vector_norm(c.F, dim=-1)
    moved = torch.linalg.vector_norm(c.F - c.F0, dim=-1)
    right = torch.cat([r.gamma if divided else r.g, r.mu], -1)
    return _nearest(torch.cat([length, moved], -1), right + 1e-9 * (1 + c.tau[:, None]))


def _nearest(left: Tensor, right: Tensor) -> Sides:
    """One pair per instance: where left comes nearest to exceeding right, or exceeds it most."""
    place = (left - right).argmax(-1, keepdim=True)
    beaten = left.gather(-1, place) > right.gather(-1, place)
    place = torch.where(beaten, place, (left / right).argmax(-1, keepdim=True))
    return Sides(*(A.gather(-1, place)[:, 0] for A in (left, right)))


def _rows_without_leak() -> Sides:
    """Y = [[1, a], [0, t]]: F₂ is near a/(1 − t²), and γ₂ without the leak near a."""
    Y, R = make.matrix([[1, 0.05], [0, 0.9]])[None], make.matrix([[1, 0]])[None]
    return _row_sides(chart(Y, R), with_leak=False)


statement(
    "rows",
    "Lemma 9.5",
    "‖row j of F‖ ≤ γ_j, ‖row j of F − F₀‖ ≤ x sin²θ γ_j + (t/s²) sin θ e_j",
    lambda seed, count: _row_sides(chart(*near(seed, count))),
    {
        "s > t": lambda: _row_sides(chart(*exchanged())),
        "the leak (t/s²) sin θ e_j": _rows_without_leak,
    },
    lambda: _row_sides(chart(*turned())),
)


def tilted(a: Tensor) -> tuple[Tensor, Tensor]:
    """YᵀY = [[1, a], [a, 1]]: an angle of 45 degrees, s = 1 and t² = 1 − a."""
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    Y = torch.stack([torch.stack([one, a], -1), torch.stack([zero, (1 - a**2).sqrt()], -1)], -2)
    return Y, make.matrix([[1, 0]]).expand(len(a), 1, 2)


def _undivided(a: Tensor) -> Sides:
    """g₂ = a + √((1 − a)/2) against ‖row 2 of F‖ = 1; the letters as the chapter computes them."""
    c = chart(*tilted(a))
    r, expected = rows(c), a + ((1 - a) / 2).sqrt()
    off = (r.g[:, 1] - expected).abs() + (c.F[:, 1].abs().amax(-1) - 1).abs()
    return Sides(torch.where(off > 1e-7, math.inf, r.g[:, 1]), torch.ones_like(a))


statement(
    "rows-need-divisor",
    "Counterexample 9.6",
    "YᵀY = [[1, a], [a, 1]], 0 < a < ½: ‖row 2 of F‖ = 1 > g₂ = a + √((1 − a)/2)",
    lambda seed, count: _undivided(make.uniform(seed, "a", 0.001, 0.499, count)),
    {"a < ½": lambda: _undivided(make.vector(0.6))},
    loose="a single strict inequality, between √½ and 1",
)


def _inside_sides(c: Chart, with_leak: bool = True, n: int = 0) -> Sides:
    """‖Q(I − P)e_j‖ against g_j, and ‖row j of F(I − N) − F₀‖ against η_j, at the worst row."""
    r, k = rows(c, with_leak), c.V.shape[-1]
    length = torch.linalg.vector_norm(c.Q @ (c.eye - c.P), dim=-2)
    inside = torch.linalg.inv(make.eye(k) + c.F.mT @ c.F)
    beyond = torch.linalg.vector_norm(c.F @ inside - c.F0, dim=-1)
    right = torch.cat([r.g, r.eta], -1) + 1e-9 * (1 + c.tau[:, None])
    return _nearest(torch.cat([length, beyond], -1), right)


statement(
    "rows-of-the-projector",
    "Lemma 9.7",
    "‖Q(I − P)e_j‖ ≤ g_j, ‖row j of F(I − N) − F₀‖ ≤ ‖F₀‖ρ g_j + (t/s²)ρ e_j",
    lambda seed, count: _inside_sides(chart(*near(seed, count))),
    {
        "s > t": lambda: _inside_sides(chart(*exchanged())),
        "the leak (t/s²) sin θ e_j": lambda: _inside_sides(
            chart(*tilted(make.vector(0.1))), with_leak=False
        ),
    },
    lambda: _inside_sides(chart(*tilted(make.vector(1e-3)))),
)


class Bounds(NamedTuple):
    """The three centres and widths of the theorem, from the definitions."""

    P: Tensor
    A: Tensor
    L: Tensor
    B: Tensor
    Q1: Tensor
    C: Tensor


def bounds(c: Chart) -> Bounds:
    r, k = rows(c), c.V.shape[-1]

    def outer(u: Tensor, v: Tensor) -> Tensor:
        return u[..., :, None] * v[..., None, :]

    square = outer(r.g, r.g) + r.rho[..., None] ** 2 * outer(r.p, r.p)
    graph = c.V + c.F0
    solved = graph @ torch.linalg.inv(make.eye(k) + c.F0.mT @ c.F0)
    a, b = (torch.linalg.vector_norm(M, dim=-1) for M in (graph, solved))
    step = r.x * r.tau
    width = outer(r.mu + b * r.slope * step, a + r.mu)
    width = width + outer(b, r.mu + (a + r.mu) * step * r.tau)
    return Bounds(
        c.P,
        outer(r.p, r.g) + outer(r.g, r.p) + square,
        c.V @ c.F0.mT + c.F0 @ c.V.mT,
        outer(r.p, r.eta) + outer(r.eta, r.p) + square,
        solved @ graph.mT,
        torch.minimum(width, width.mT),
    )


def _entries(seed: int, count: int) -> Sides:
    """All three bounds at the entry that comes nearest to violating one of them.

    They are the chapter's formulas; the library must give the same numbers, up to its rounding.
    """
    Y, R = near(seed, count)
    c = chart(Y, R)
    own, terms = bounds(c), entrywise_bound(Y, R).terms
    pairs = (own.P, own.A), (own.P + own.L, own.B), (own.Q1, own.C)
    left = torch.cat([(c.Q - centre).abs() for centre, _ in pairs], -1)
    right = torch.cat([width for _, width in pairs], -1)
    # name, formula, and with which power of τ the library's rounding in t enters
    named = (
        ("A", own.A, 2),
        ("remainder", own.B, 2),
        ("remainder C", own.C, 3),
        ("centre", own.P + own.L, 2),
        ("centre C", own.Q1, 2),
    )
    size = 1 + c.tau[:, None, None]
    off = [((terms[name] - mine).abs() / size**m).amax((-2, -1)) for name, mine, m in named]
    found = _nearest(left.flatten(1), right.flatten(1) + 1e-9 * size[:, :, 0] ** 2)
    return Sides(torch.where(torch.stack(off).amax(0) > 1e-7, math.inf, found.left), found.right)


def _entries_extremal() -> Sides:
    Y, R = turned()
    moved = (row_projector(Y, 1) - R.mT @ R).abs()
    return Sides(moved[:, 0, 0], entrywise_bound(Y, R).terms["A"][:, 0, 0])


def _entries_without_gap() -> Sides:
    """Y = diag(½, 1): F₀ = 0, every term of the formula is 0, and Q and P are orthogonal."""
    Y, R = make.matrix([[0.5, 0], [0, 1]])[None], make.matrix([[1, 0]])[None]
    c = chart(Y, R)
    return Sides(make.largest(c.Q - c.P), make.norm(c.F0))


def _entries_other_rank() -> Sides:
    Y, R = make.matrix([[1, 0, 0], [0, 0.5, 0], [0, 0, 0.1]])[None], make.matrix([[1, 0, 0]])[None]
    moved = make.largest(row_projector(Y, 2) - R.mT @ R)
    return Sides(moved, entrywise_bound(Y, R).bound.amax((-2, -1)))


def _entries_no_remainder() -> Sides:
    Y, R = turned()
    cert = entrywise_bound(Y, R)
    return make.rounding(make.largest(row_projector(Y, 1) - cert.terms["centre"]))


def _entries_no_step(c: Chart) -> Sides:
    """Q₁ in place of Q; it is the first step of an iteration, and exact only for t = 0."""
    return make.rounding(make.largest(c.Q - bounds(c).Q1))


statement(
    "entrywise",
    "Theorem 9.8",
    "|Q − P| ≤ (A), |Q − P − L| ≤ (B), |Q − Q₁| ≤ (C), entry by entry",
    _entries,
    {
        "s > t": _entries_without_gap,
        "Q of rank k": _entries_other_rank,
        "the remainder of (B)": _entries_no_remainder,
        "the remainder of (C)": lambda: _entries_no_step(chart(*tilted(make.vector(0.3)))),
    },
    _entries_extremal,
)


def _leaky(seed: int, count: int) -> tuple[Tensor, list[int], Tensor]:
    """Symmetric P with entries across clusters, sizes, and its margin; only positive ones kept."""
    counts = make.shape(seed, a=(2, 4), b=(1, 4), c=(2, 4))
    P = make.uniform(seed, "entries", 0, 1, count, sum(counts), sum(counts))
    P = torch.where(make.across(counts), 0.3 * P, P)
    P = torch.triu(P) + torch.triu(P, 1).mT
    P = P * torch.where(make.uniform(seed, "sign", -1, 1, count, 1, 1) > 0, 1.0, -1.0)
    margin = entrywise_margin(P, make.labels(counts))
    return P[margin > 0], counts, margin[margin > 0]


def _margin_sides(seed: int, count: int, factor: float) -> Sides:
    P, counts, margin = _leaky(seed, count)
    cut = make.largest(P * make.across(counts)) + margin / 2
    Q = attack(P, factor * margin / 2, counts)
    return make.flags(make.wrong_clusters(Q, make.labels(counts), cut))


statement(
    "leaky-margin",
    "Proposition 9.9",
    "‖P − Q‖_max < ε/2 ⇒ the components of {|Q| > c} are the clusters",
    lambda seed, count: _margin_sides(seed, count, 0.999),
    {"below ε/2": lambda: _margin_sides(0, 50, 1.001)},
    form="identity",  # the conclusion is yes or no
)


def _union(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy layers of two or three lines or planes, the reference, labels."""
    K, d, points = make.shape(seed, K=(2, 3), d=(1, 2), points=(4, 6))
    blocks = [make.gaussian(seed, f"block {j}", count, d, points) for j in range(K)]
    clean = make.orthonormal(seed, "bases", count, 8, K * d) @ make.block_diagonal(blocks)
    size = make.log_uniform(seed, "size", -3, -0.5, count, 1, 1)
    Y = clean + size * make.gaussian(seed, "noise", count, 8, K * points)
    return Y, row_basis(clean, K * d), make.labels([points] * K)


TRIED = 12  # thresholds, spread over the bounds of all pairs


def _possible(lower: Tensor, upper: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether c₀ satisfies both conditions, and whether one of TRIED others does."""
    same, count = y[:, None] == y, len(upper)

    def works(c: Tensor) -> Tensor:
        clear = ((upper <= c[:, None, None]) | same).all(-1).all(-1)
        inside = (lower > c[:, None, None]) & same
        return clear & (make.components(inside) == len(y.unique()))

    first = torch.where(same, 0.0, upper).amax((-2, -1))
    values = torch.cat([upper, lower * (1 - 1e-12)], -1).reshape(count, -1).sort(-1).values
    step = max(1, values.shape[1] // TRIED)
    tried = [first, torch.zeros_like(first), *values[:, ::step].unbind(-1)]
    return works(first), torch.stack([works(c) for c in tried]).any(0)


def _edges(seed: int, count: int) -> Sides:
    """Certified clusters are right; the certificate holds iff c₀ works iff any c works.

    For the second half also intervals that no layer gave, at random.
    """
    if seed % 5 == 4:
        counts = make.shape(seed, a=(1, 3), b=(2, 3))
        n, y = sum(counts), make.labels(counts)
        low, width = (make.uniform(seed, name, 0, 0.5, count, n, n) for name in ("low", "width"))
        low = torch.where(make.across(counts), low, low + 0.35)
        low, high = torch.triu(low), torch.triu(low + 0.3 * width)
        low, high = (M + torch.triu(M, 1).mT for M in (low, high))
        first, anywhere = _possible(low, high, y)
        return make.flags(first != anywhere)
    Y, R, y = _union(seed, count)
    cert, Q = certify_clusters(Y, R, y, share=False), row_projector(Y, R.shape[-2])
    wrong = make.wrong_clusters(Q, y, cert.threshold) & cert.holds
    terms = entrywise_bound(Y, R).terms
    first, anywhere = _possible(terms["lower"], terms["upper"], y)
    return make.flags(wrong | (first != anywhere) | (first != cert.holds))


def five() -> tuple[Tensor, Tensor, Tensor]:
    """Two points on each axis and one on the diagonal, which carries the label of the second."""
    Y = make.matrix([[1, 1, 0, 0, 1], [0, 0, 1, 1, 1]])
    return Y, row_basis(Y, 2), torch.tensor([0, 0, 1, 1, 1])


def _edge_across() -> Sides:
    """c = 1/8: every cluster is connected, and an edge of weight 2/8 joins them."""
    Y, _, y = five()
    return make.flags(make.wrong_clusters(row_projector(Y, 2)[None], y, make.vector(1 / 8)))


def _edge_missing() -> Sides:
    """c = 0.3: no edge across, and the fifth point has lost its cluster."""
    Y, _, y = five()
    return make.flags(make.wrong_clusters(row_projector(Y, 2)[None], y, make.vector(0.3)))


statement(
    "edge-certificate",
    "Corollary 9.10",
    "upper ≤ c across, {lower > c} connected inside ⇒ {|Q| > c} has the clusters; c or c₀",
    _edges,
    {"no possible edge across": _edge_across, "certain edges connect": _edge_missing},
    form="identity",  # the conclusion is yes or no
)


def _part(seed: int, count: int) -> Sides:
    """Layers that are certified in part, or as a whole."""
    Y, R, y = _union(seed, min(count, 100))
    cert, Q = certify_clusters(Y, R, y), row_projector(Y, R.shape[-2])
    some = cert.certified.any(-1)
    return make.flags(make.wrong_clusters(Q[some], y, cert.used[some], cert.certified[some]))


statement(
    "certified-part",
    "Corollary 9.11",
    "the same among the points of a set that satisfies both conditions",
    _part,
    {"only the points of the set": _edge_across},
    form="identity",  # the conclusion is yes or no
)


def _merged(seed: int, count: int) -> Sides:
    """In every basis: four of five points certified, and at c = 1/8 all five are one cluster."""
    Y, R, y = five()
    G = make.gaussian(seed, "G", count, 4, 2)
    G = G[torch.linalg.svdvals(G)[:, -1] > 0.05]
    cert, Q = certify_clusters(G @ Y, R.expand(len(G), 2, 5), y), row_projector(G @ Y, 2)
    c = torch.full((len(G),), 1 / 8 + 1e-9, dtype=torch.float64)
    four = torch.tensor([True, True, True, True, False]).expand(len(G), 5)
    fine = ~make.wrong_clusters(Q, y, c, four)
    one = make.connected(Q.abs() > c[:, None, None])
    four_fifths = (cert.certified_share - 0.8).abs() < 1e-9
    return make.flags(~(fine & one & four_fifths))


def _not_merged() -> Sides:
    """Without the fifth point nothing joins the clusters."""
    Y, _, _ = five()
    Q = row_projector(Y[:, :4], 2)
    return make.flags(~make.connected(Q.abs() > 1 / 8)[None])


statement(
    "certified-yet-merged",
    "Counterexample 9.12",
    "four of five points certified at c = 1/8, and {|Q| > c} on all five is connected",
    _merged,
    {"the fifth point": _not_merged},
    form="identity",  # the conclusion is yes or no
)

"""Chapter 7, The theorem."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY, Chain
from evidence.statement import Sides, statement
from subspace_lib.bounds import spectral_gap, theorem_3_1
from subspace_lib.clustering import connectivity_margin, minimum_margin
from subspace_lib.data import add_noise
from subspace_lib.projectors import projection_distance, row_projector, sin_theta


def links(c: Chain) -> tuple[Tensor, Tensor]:
    """Gaps and errors of the three links, each (3, ...), as computed: no allowance."""
    gaps = [spectral_gap(A, B, c.r) for A, B, _ in c.pairs]
    return torch.stack(gaps), torch.stack([make.norm(E) for *_, E in c.pairs])


def smallest_margin(gaps: Tensor, errors: Tensor, factor: float) -> Tensor:
    """The smallest ε for which every gap > (factor/ε) · its error; ∞ for a gap ≤ 0."""
    ratio = torch.where(gaps > 0, errors / gaps.clamp(min=1e-300), math.inf)
    return factor * ratio.amax(0) * NEARLY


def _theorem(seed: int, count: int) -> Sides:
    """With the smallest ε that the hypotheses allow: no other choice is a harder test.

    A quarter are two rotations in a row, which Wedin's inequality describes exactly.
    """
    c = turned_at_random(seed, count) if seed % 4 == 0 else make.chain(seed, count)
    gaps, errors = links(c)
    keep = (gaps > 0).all(0)
    if not keep.any():
        return make.nothing()
    margin = smallest_margin(gaps, errors, (128 * c.r) ** 0.5)[keep]
    return Sides(projection_distance(c.S[keep], c.Y[keep], c.r), margin / 2 + 1e-13)


def limit(
    c: Chain, kept: tuple[int, ...], factor: float = 128**0.5, room: float = 1e-6
) -> Callable[[], Sides]:
    """The conclusion (r = 1) just above the least ε for which the ``kept`` links hold."""

    def instance() -> Sides:
        gaps, errors = (values[list(kept)] for values in links(c))
        margin = smallest_margin(gaps, errors, factor) + room
        return make.one(projection_distance(c.S, c.Y, 1), margin / 2)

    return instance


def linear(S: Tensor, Z: Tensor, W: Tensor) -> Chain:
    """A single chain without activation, r = 1."""
    return Chain(S[None], Z[None], W, (W @ (S + Z))[None], 1)


E1, EYE = make.matrix([[1, 0], [0, 0]]), make.eye(2)
FAINT = make.matrix([[0, 0], [0, 1e-3]])
LOUD = make.matrix([[1, 0], [0, 1e6]])  # amplifies what was faint
FLIP, ABSOLUTE = make.matrix([[1, -1]]), make.matrix([[1, 1]])
AMPLIFIED = linear(E1, FAINT, LOUD)
FOLDED = Chain(FLIP[None], 0 * FLIP[None], make.eye(1), ABSOLUTE[None], 1)
FULL = linear(make.matrix([[1, 0], [0, 0.9]]), 0 * EYE, make.matrix([[0.5, 0], [0, 1]]))  # rank 2


def turned_twice(theta: float = 1e-3) -> Chain:
    """Noise turns the row by θ, the layer by θ once more, each as far as Wedin allows."""
    A, X = make.turned(theta)
    Y = make.matrix([[math.cos(2 * theta), math.sin(2 * theta)], [0, 0]])
    return Chain(A[None], (X - A)[None], EYE, Y[None], 1)


def turned_at_random(seed: int, count: int) -> Chain:
    """A batch of them."""
    angles = make.log_uniform(seed, "θ", -4, -1, count).tolist()
    turns = [turned_twice(theta) for theta in angles]
    S, Z, Y = (torch.cat([getattr(c, part) for c in turns]) for part in "SZY")
    return Chain(S, Z, EYE, Y, 1)


statement(
    "three-links",
    "Theorem 7.1",
    "δ_i > √(2⁷r)/ε · its own error (i = 1, 2, 3) ⇒ ‖P(X*) − P(Y)‖_max < ε/2",
    _theorem,
    {
        "the second link": limit(AMPLIFIED, (0, 2)),
        "the third link": limit(FOLDED, (0, 1)),
        "rank X* = r": limit(FULL, (0, 1, 2)),
        "a constant of 16 r at least": limit(turned_twice(), (0, 1, 2), 15**0.5, 1e-12),
    },
    loose="the first link is walked twice and the norm taken through Frobenius: √(8r) is lost",
)


def union(seed: int, count: int) -> tuple[Chain, Tensor, Tensor]:
    """Small unions and noise of random size, the two margins (2, count), labels."""
    d, n, variance = make.shape(seed, d=(1, 2), n=(4, 7), v=(4, 12))
    data = make.two_subspaces(seed, count, 10, d, n)
    noisy = add_noise(data, 10.0**-variance, seed=seed)
    W = make.gaussian(seed, "W", count, 2 * d + 3, 10)
    bend = make.log_uniform(seed, "bend", -8, -3, count, 1, 1)
    WX = W @ noisy.X
    P = row_projector(data.clean, data.rank)
    margins = [minimum_margin(P, data.labels), connectivity_margin(P, data.labels)]
    r = int(torch.linalg.matrix_rank(data.clean[0]))
    c = Chain(data.clean, noisy.noise, W, WX + bend * WX.abs(), r)
    return c, torch.stack(margins), data.labels


def _clusters(seed: int, count: int) -> Sides:
    """Where the links hold with a margin: the clusters, and with ε_min the pattern of P too."""
    c, margins, labels = union(seed, count)
    held, wrong = torch.zeros(2, count, dtype=torch.bool), torch.zeros(2, count, dtype=torch.bool)
    for k, margin in enumerate(margins):
        cert = theorem_3_1(*c, margin.clamp(min=1e-12), "links")
        held[k] = cert.holds & (margin > 0)
        if held[k].any():
            Q = row_projector(c.Y[held[k]], c.r)
            threshold = margin[held[k]] / 2
            wrong[k, held[k]] = make.wrong_clusters(Q, labels, threshold)
        if k == 0 and held[k].any():
            pattern = row_projector(c.S[held[k]], c.r).abs() > 1e-12
            differs = (Q.abs() > threshold[:, None, None]) != pattern
            wrong[k, held[k]] |= differs.any(-1).any(-1)
    return make.flags(wrong.any(0)[held.any(0)])


def _clean_clusters(X: Tensor, labels: list[int], rank: int, signed: bool = False) -> Sides:
    """No noise and no layer, so that every link holds; threshold half the smallest entry."""
    Q, y = row_projector(X, rank), torch.tensor(labels)
    threshold = minimum_margin(Q, y) / 2
    Q = Q.clamp(min=0) if signed else Q
    return make.flags(make.wrong_clusters(Q[None], y, threshold[None]))


def _lines() -> Sides:
    """Three lines in a plane: dependent, and the projector is not block diagonal."""
    X = make.matrix([[1, 2, 0, 0, 1, 2], [0, 0, 1, 2, 1, 2]])
    return _clean_clusters(X, [0, 0, 1, 1, 2, 2], 2)


def _too_few_points() -> Sides:
    """Two points that span a plane: the block is the identity and not connected."""
    return _clean_clusters(EYE, [0, 0], 2)


def _condition_dropped() -> Sides:
    """Noise that turns the row space: the links fail, and the clusters are lost."""
    clean = make.matrix([[1, 1, 0, 0], [0, 0, 1, 1]])
    Y = make.matrix([[1, 0, 1, 0], [0, 1, 0, 1]])
    y = torch.tensor([0, 0, 1, 1])
    margin = connectivity_margin(row_projector(clean, 2), y)
    return make.flags(make.wrong_clusters(row_projector(Y, 2)[None], y, margin[None] / 2))


statement(
    "clusters-come-back",
    "Corollary 7.2",
    "the links hold with ε_min or ε_conn ⇒ the components of {|P(Y)| > ε/2} are the clusters",
    _clusters,
    {
        "independent subspaces": _lines,
        "connected blocks": _too_few_points,
        "absolute values": lambda: _clean_clusters(FLIP, [0, 0], 1, signed=True),
        "the links": _condition_dropped,
    },
    form="identity",
)


def verdicts(c: Chain, margin: Tensor) -> tuple[Tensor, Tensor]:
    """(printed, link by link), from gaps and errors without allowance."""
    gaps, errors = links(c)
    factor = (128 * c.r) ** 0.5 / margin
    return gaps.amin(0) > factor * errors.amax(0), (gaps > factor * errors).all(0)


def _printed(seed: int, count: int) -> Sides:
    c = make.chain(seed, count)
    printed, own = verdicts(c, make.log_uniform(seed, "margin", -3, 5, count))
    return make.flags(printed & ~own)


def _not_printed() -> Sides:
    """The links hold; W is scaled by 1e9 and the printed form is lost."""
    printed, own = verdicts(linear(E1, 1e-6 * FAINT, 1e9 * EYE), torch.tensor(0.5))
    return make.flags(own & ~printed)


statement(
    "printed-form",
    "Corollary 7.3",
    "min δ_i > √(2⁷r)/ε · max error ⇒ δ_i > √(2⁷r)/ε · its own error, not conversely",
    _printed,
    {"one maximum for all links": _not_printed},
    form="identity",
)


def homogeneous(seed: int) -> Callable[[Tensor], Tensor]:
    """σ(a) = αa for a > 0 and βa for a < 0: ReLU, leaky ReLU, |a| and all the others."""
    up, down = make.uniform(seed, "slopes", -1, 2, 2).tolist()
    slopes = ((1.0, 0.0), (1.0, 0.1), (1.0, -1.0), (1.0, 1.0), (up, down))
    (kind,) = make.shape(seed, slopes=(0, len(slopes) - 1))
    alpha, beta = slopes[kind]
    return lambda a: alpha * a.clamp(min=0) + beta * a.clamp(max=0)


def printed_holds(gaps: Tensor, errors: Tensor, kappa: Tensor) -> Tensor:
    return gaps.amin(0) > kappa * errors.amax(0)


def window(gaps: Tensor, errors: Tensor, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of (7.3), from gaps and errors at c = 1."""
    return kappa * errors[0] / gaps[1], gaps[0] / (kappa * errors[1])


def _scales(seed: int, count: int, sigma: Callable[[Tensor], Tensor] | None = None) -> Sides:
    """cW in place of W: what scales, what stays, and that the printed form needs the window."""
    S, Z, W, _, r = make.chain(seed, count)
    sigma = homogeneous(seed) if sigma is None else sigma
    c = make.log_uniform(seed, "c", -3, 3, count)
    chains = [Chain(S, Z, V, sigma(V @ (S + Z)), r) for V in (W, c[:, None, None] * W)]
    before, after = (links(chain) for chain in chains)
    deviation = torch.zeros(count, dtype=torch.float64)
    for old, new in zip(before, after, strict=True):
        expected = torch.stack([old[0], c * old[1], c * old[2]])
        scale = old.abs().amax(0) * torch.maximum(c, torch.ones_like(c))
        deviation = torch.maximum(deviation, ((new - expected).abs() / scale).amax(0))
    kappa = (128 * r) ** 0.5 / make.log_uniform(seed, "margin", -3, 5, count)
    low, high = window(*before, kappa)
    inside = (before[0][1] > 0) & (low < c * NEARLY) & (c < high * NEARLY)
    wrong = printed_holds(*after, kappa) & ~inside
    moved = _moved(chains[0].Y, chains[1].Y, r)
    return make.rounding(torch.stack([deviation, wrong.double(), moved]).amax(0), 1e-9)


def _moved(Y: Tensor, scaled: Tensor, r: int) -> Tensor:
    """‖P_r(Y) − P_r(cY)‖ where a gap makes it well defined, and 0 elsewhere."""
    s = torch.linalg.svdvals(Y)
    s = torch.nn.functional.pad(s, (0, 1))
    clear = s[:, r - 1] - s[:, r] > 1e-4 * s[:, 0]
    distance = torch.zeros(len(Y), dtype=torch.float64)
    if clear.any():
        distance[clear] = projection_distance(Y[clear], scaled[clear], r, "spectral")
    return distance


def _ends(seed: int, count: int) -> Sides:
    """Z = tX* without activation: there the printed form holds exactly in the window.

    The scales are just inside and just outside its two ends, where it is not empty and each
    link holds by itself.
    """
    S, _, W, _, r = make.chain(seed, count)
    t = make.log_uniform(seed, "t", -6, -1, count)
    Z = t[:, None, None] * S
    kappa = (128 * r) ** 0.5 / make.log_uniform(seed, "margin", -1, 3, count)
    gaps, errors = links(Chain(S, Z, W, W @ (S + Z), r))
    low, high = window(gaps, errors, kappa)
    own = (gaps[:2] > 1.1 * kappa * errors[:2]).all(0)
    open_ = own & (low * 1.1 < high)
    S, Z, W, kappa, low, high = (v[open_] for v in (S, Z, W, kappa, low, high))
    wrong = torch.zeros(len(S), dtype=torch.bool)
    at = (low * (1 - 1e-6), low * (1 + 1e-6), high * (1 - 1e-6), high * (1 + 1e-6))
    for c, expected in zip(at, (False, True, True, False), strict=True):
        V = c[:, None, None] * W
        printed = printed_holds(*links(Chain(S, Z, V, V @ (S + Z), r)), kappa)
        wrong |= printed != expected
    return make.flags(wrong)


def _any_scale(seed: int, count: int) -> Sides:
    return _ends(seed, count) if seed % 3 == 0 else _scales(seed, count)


statement(
    "scale-of-weights",
    "Proposition 7.4",
    "cW: δ₂, δ₃, ‖WZ‖, ‖Y − WX‖ scale with c; printed ⇒ κ‖Z‖/δ₂ < c < δ₁/(κ‖WZ‖)",
    _any_scale,
    {"σ positively homogeneous": lambda: _scales(1, 20, torch.tanh)},
    form="identity",
)


def _harmless(seed: int, count: int, low: float = 1.0) -> Sides:
    """Z = tX*, t ≥ low · ε/√(2⁷r), ε ≤ 1: nothing moves, and the first link fails."""
    S, _, W, _, r = make.chain(seed, count)
    margin = make.uniform(seed, "margin", 0.01, 1, count)
    t = low * margin / (128 * r) ** 0.5 * (1 + make.uniform(seed, "t", 0, 3, count))
    Z = t[:, None, None] * S
    Y = W @ (S + Z)
    _, own = verdicts(Chain(S, Z, W, Y, r), margin)
    return make.rounding(torch.maximum(sin_theta(S, Y, r)[:, 0], own.double()), 1e-8)


statement(
    "harmless-noise",
    "Counterexample 7.9",
    "Z = tX*, t ≥ ε/√(2⁷r): P(Y) = P(X*), and the first link fails",
    _harmless,
    {"t ≥ ε/√(2⁷r)": lambda: _harmless(0, 20, 1e-9)},
    form="identity",
)


def _little_bend(seed: int, count: int) -> Sides:
    c = make.chain(seed, count)
    gaps, errors = links(c)
    keep, factor = gaps[2] > 0, (128 * c.r) ** 0.5
    margin = smallest_margin(gaps[2:, keep], errors[2:, keep], factor)
    return Sides(factor * errors[2, keep] / margin, torch.linalg.svdvals(c.Y[keep])[:, c.r - 1])


def _rank_one_layer() -> Sides:
    """WX of rank one: s₂(WX) = 0 and the whole of s₁(Y) is the gap."""
    WX, Y = E1, 1.1 * E1
    margin = smallest_margin(spectral_gap(Y, WX, 1)[None], make.norm(Y - WX)[None], 128**0.5)
    return make.one(128**0.5 * make.norm(Y - WX) / margin, make.norm(Y))


def _absolute_value() -> Sides:
    """ε = ½, the margin of the two points: |A| bends far more than the link allows."""
    return make.one(128**0.5 * make.norm(ABSOLUTE - FLIP) / 0.5, make.norm(ABSOLUTE))


statement(
    "little-bend",
    "Proposition 7.10",
    "the third link ⇒ ‖Y − WX‖ < ε s_r(Y)/√(2⁷r)",
    _little_bend,
    {"the third link": _absolute_value},
    _rank_one_layer,
)

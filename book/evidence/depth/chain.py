"""The chain through several layers: what it needs, what it adds up to, what equal shares cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from evidence.theorem.statements import AMPLIFIED, FLIP, FOLDED, FULL, limit, turned_twice
from subspace_lib.bounds import depth_links
from subspace_lib.projectors import projection_distance


def _two_ranks(seed: int, count: int) -> Sides:
    """A row and a column with entries of both signs: ReLU of their product has rank two."""
    n, p = make.shape(seed, n=(2, 9), p=(2, 9))
    x, w = (make.uniform(seed, name, 0.1, 1, count, size) for name, size in (("x", n), ("w", p)))
    x[:, 0], w[:, 0] = -x[:, 0], -w[:, 0]
    rank = make.count_rank(torch.relu(w[:, :, None] * x[:, None, :]))
    return make.flags(rank != 2)


statement(
    "second-layer-unclean",
    "Counterexample 17.3",
    "X* = xᵀ, W = w, both with entries of both signs: rank relu(WX*) = 2 > 1",
    _two_ranks,
    {
        "both signs": lambda: make.flags(
            make.count_rank(torch.relu(make.matrix([[1], [2]]) @ FLIP))[None] != 2
        )
    },
    form="identity",
)


def _depth(seed: int, count: int) -> Sides:
    """Up to three layers, where all gaps are positive: (17.4), and the least ε of (17.5)."""
    S, Z, W, Y, r = make.chain(seed, count)
    (L,) = make.shape(seed, depth=(1, 3))
    layers = [(W, Y)]
    for level in range(1, L):
        V = make.gaussian(seed, f"W{level}", count, W.shape[-2], W.shape[-2])
        A = V @ layers[-1][1]
        layers.append((V, A + 1e-3 * A.abs()))
    return _both_forms(S, Z, layers, r)


def _both_forms(S: Tensor, Z: Tensor, layers: Layers, r: int, share: float = 4.0) -> Sides:
    """The spectral distance against the sum, the largest entry against ε/2; the tighter one.

    ε = share · L · max error/gap is the least that (17.5) allows, whose share is 4.
    """
    gaps, errors = depth_links(S, Z, layers, r)
    keep = (gaps > 0).all(0)
    if not keep.any():
        return make.nothing()
    ratio = errors[:, keep] / gaps[:, keep]
    epsilon = share * len(layers) * ratio.amax(0)
    ends = S[keep], layers[-1][1][keep], r
    moved, entry = (projection_distance(*ends, norm) for norm in ("spectral", "max"))
    return make.worst((moved, ratio.sum(0) * NEARLY + 1e-12), (entry, epsilon / 2 * NEARLY + 1e-12))


Layers = list[tuple[Tensor, Tensor]]


def turned_often(L: int, theta: float = 1e-3, faint: float = 1e-9) -> tuple[Tensor, Tensor, Layers]:
    """One row, turned by θ at each of 2L links as far as Wedin allows: X*, Z and (W_l, Y_l).

    Row 1 of Y_l is the signal. Row 2 is faint and lies across, so that W_{l+1}, which makes it
    loud and adds it to row 1, turns the signal: what the truncation Y*_l leaves is the noise.
    """
    ray = [make.vector(math.cos(k * theta), math.sin(k * theta)) for k in range(2 * L + 1)]
    beside = [torch.stack([-v[1], v[0]]) for v in ray]
    tan, layers, size = math.tan(theta), [], 1.0
    for level in range(L):
        W = make.matrix([[1, size * tan / faint], [0, 0]])
        size = size / math.cos(theta) ** 2  # B is shorter than A by cos θ in each equality
        v, across = ray[2 * level + 2], beside[2 * level + 2]
        layers.append((W, torch.stack([size * v, faint * across])[None]))
    S, Z = torch.stack([ray[0], 0 * ray[0]]), torch.stack([0 * ray[0], faint * beside[0]])
    return S[None], Z[None], layers


def _depth_extremal() -> Sides:
    """The loosest over one to four layers, each form by itself."""
    found = []
    for L in (1, 2, 3, 4):
        S, Z, layers = turned_often(L)
        gaps, errors = depth_links(S, Z, layers, 1)
        ratio = (errors / gaps)[:, 0]
        moved, entry = (
            projection_distance(S, layers[-1][1], 1, norm)[0] for norm in ("spectral", "max")
        )
        found += [moved / ratio.sum(), entry / (2 * L * ratio.max())]
    return make.one(min(found), NEARLY)


def _fewer_shares(share: float) -> Callable[[], Sides]:
    """``share`` · L in place of 4L, with three layers."""

    def instance() -> Sides:
        S, Z, layers = turned_often(3)
        return _both_forms(S, Z, layers, 1, share)

    return instance


statement(
    "sum-of-links",
    "Corollary 17.4",
    "‖P(X*) − P(Y_L)‖ ≤ Σ error/gap over 2L links; < ε/2 where each gap > (4L/ε) · its error",
    _depth,
    {
        "the condition on W_l": limit(AMPLIFIED, (2,), 4, 1e-12),
        "the condition on σ": limit(FOLDED, (1,), 4, 1e-12),
        "rank X* = r": limit(FULL, (1, 2), 4, 1e-12),
        "4L, not 2L": limit(turned_twice(), (1, 2), 2, 1e-12),
        "4L with L = 3, not 4(L − 1)": _fewer_shares(8 / 3),
    },
    _depth_extremal,
)


def _sharing(seed: int, count: int) -> Sides:
    """ε_sum = 2Σρ ≤ ε_share = 4L max ρ ≤ 2L ε_sum, for ratios ρ over many decades.

    One instance tests one of the two inequalities, in turn.
    """
    (L,) = make.shape(seed, depth=(1, 6))
    both = _both_ends(make.log_uniform(seed, "ratios", -8, 0, 2 * L, count))
    first, turn = torch.arange(count) % 2 == 0, torch.arange(count)
    chosen = torch.where(first, turn, turn + count)
    return Sides(both.left[chosen], both.right[chosen])


def _both_ends(ratio: Tensor) -> Sides:
    L = len(ratio) / 2
    total, largest = 2 * ratio.sum(0), 4 * L * ratio.amax(0)
    return Sides(torch.cat([total, largest]), torch.cat([largest, 2 * L * total]) * NEARLY)


def _one_link_only() -> Sides:
    """All ratios equal: the first is an equality; a single link with an error: the second.

    The looser of the two counts.
    """
    equal = _both_ends(torch.ones(4, 1, dtype=torch.float64))
    single = _both_ends(make.matrix([[1], [0], [0], [0]]))
    first, second = equal.left[0] / equal.right[0], single.left[1] / single.right[1]
    return make.one(min(first, second), 1.0)


statement(
    "equal-shares",
    "Proposition 17.5",
    "ε_sum ≤ ε_share ≤ 2L ε_sum, with ε_sum = 2Σρ and ε_share = 4L max ρ",
    _sharing,
    {"positive gaps": lambda: _both_ends(make.matrix([[1], [-1]]))},
    _one_link_only,
)

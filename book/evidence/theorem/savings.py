"""Savings within the chain: spectral norms, a link skipped, one step at any scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY, Chain
from evidence.statement import Sides, statement
from evidence.theorem.one_step import one_step_bound
from evidence.theorem.statements import AMPLIFIED, E1, EYE, FULL, linear
from subspace_lib.rowspace import rounding_allowance, singular_value


def quotient(error: Tensor, gap: Tensor) -> Tensor:
    return torch.where(gap > 0, error / gap.clamp(min=1e-300), math.inf)


def links(c: Chain) -> tuple[Tensor, Tensor]:
    """Gaps, less what rounding allows, and errors of the three links, each (3, ...)."""
    gaps = [
        singular_value(A, c.r) - singular_value(B, c.r + 1) - rounding_allowance(A, B)
        for A, B, _ in c.pairs
    ]
    return torch.stack(gaps), torch.stack([make.norm(E) for *_, E in c.pairs])


def _shares(c: Chain, used: list[int], factor: float) -> Sides:
    """The smallest ε with every gap > factor · error/ε, against twice the true distance."""
    gaps, errors = links(c)
    margin = factor * quotient(errors[used], gaps[used]).amax(0) * NEARLY
    keep = margin < math.inf
    return Sides(make.distance(c.S, c.Y, c.r)[keep], margin[keep] / 2 + 1e-12)


def _sum(c: Chain) -> Sides:
    """The sum of the two quotients, and what follows from it for equal shares."""
    gaps, errors = links(c)
    parts = quotient(errors[1:], gaps[1:]) * NEARLY
    keep = parts.sum(0) < math.inf
    left = make.distance(c.S, c.Y, c.r)[keep]
    return make.worst((left, parts.sum(0)[keep] + 1e-12), (left, 2 * parts.amax(0)[keep] + 1e-12))


PUSH = make.matrix([[-0.51, 0], [0, 0.51]])  # exchanges the order of E1's singular values
NOISY = linear(E1, PUSH, EYE)
BENT = Chain(E1[None], 0 * EYE[None], EYE, (E1 + PUSH)[None], 1)


def _own_gap(c: Chain, link: int) -> Callable[[], Sides]:
    """The gap of one matrix in place of the gap between two: the link is not controlled."""

    def sides() -> Sides:
        A, E = c.pairs[1][link - 1], c.pairs[link][2]
        gap = singular_value(A, c.r) - singular_value(A, c.r + 1)
        return Sides(make.distance(c.S, c.Y, c.r), make.norm(E) / gap)

    return sides


def _tight_sum() -> Sides:
    """Wedin's equality on the linear link, nothing on the other."""
    A, X = make.turned(0.3)
    return _sum(linear(A, X - A, EYE))


statement(
    "spectral-links",
    "Theorem 7.5",
    "δ_i > 8 · its own error/ε (i = 1, 2, 3) ⇒ ‖P(X*) − P(Y)‖ < ε/2",
    lambda seed, count: _shares(make.chain(seed, count), [0, 1, 2], 8),
    {
        "rank X* = r": lambda: _shares(FULL, [0, 1, 2], 8),
        "the second link": lambda: _shares(AMPLIFIED, [0, 2], 8),
        "the third link": lambda: _shares(BENT, [0, 1], 8),
    },
    loose="the first link is walked twice without need: half of ε is lost (Theorem 7.6)",
)
statement(
    "skipped-link",
    "Theorem 7.6",
    "‖P(X*) − P(Y)‖ ≤ ‖WZ‖/δ₂ + ‖Y − WX‖/δ₃, below ε/2 if δ_i > 4 · its own error/ε",
    lambda seed, count: _sum(make.chain(seed, count)),
    {
        "rank X* = r": lambda: _sum(FULL),
        "δ₂ between two matrices": _own_gap(NOISY, 1),
        "δ₃ between two matrices": _own_gap(BENT, 2),
    },
    _tight_sum,
)


def _quotient_at(A: Tensor, Y: Tensor, r: int, c: Tensor, beyond: Tensor) -> Tensor:
    """(7.5) for A = WX*, with what A has ``beyond`` the WX*_r that is meant."""
    error = make.norm(Y - c[:, None, None] * A) + c * beyond
    gap = c * (singular_value(A, r) - beyond) - singular_value(Y, r + 1)
    return quotient(error, gap) * NEARLY + 1e-13


def _one_step(seed: int, count: int, dust: float = 0.0) -> Sides:
    """A random scale and the best one, on layers that are nearly a multiple of WX."""
    c = make.chain(seed, count)
    S = c.S
    if dust:
        S = S + dust * make.log_uniform(seed, "dust", -4, 0, count, 1, 1) * make.gaussian(
            seed, "beyond", *S.shape
        )
    scale = make.log_uniform(seed, "scale", -1, 1, count)
    Y = scale[:, None, None] * (c.Y + (c.W @ (S - c.S)))
    best, A = one_step_bound(S, c.W, Y, c.r), c.W @ S
    keep = best.bound < math.inf
    other = scale * make.uniform(seed, "miss", 0.5, 2, count)
    beyond = make.norm(c.W) * singular_value(S, c.r + 1)
    truth = make.distance(S, Y, c.r)[keep]
    own = [_quotient_at(A, Y, c.r, v, beyond)[keep] for v in (other, best.terms["c"])]
    # the search may not do worse than the random scale, nor better than its own formula
    searched = best.bound[keep]
    honest = torch.where((own[1] <= searched * (1 + 1e-6) + 1e-9), truth, math.inf)
    return make.worst((truth, own[0]), (truth, own[1]), (honest, searched))


def _one_step_extremal() -> Sides:
    v = make.matrix([[math.cos(0.3), math.sin(0.3)], [0, 0]])
    return make.one(math.sin(0.3), one_step_bound(E1, EYE, 5 * v, 1).bound)


def _one_step_rank() -> Sides:
    """rank X* = 2, no error at all, and the layer turns the order around."""
    one = make.vector(1)
    found = _quotient_at(FULL.W @ FULL.S, FULL.Y, 1, one, 0 * one)
    return Sides(make.distance(FULL.S, FULL.Y, 1), found)


statement(
    "one-step",
    "Theorem 7.7",
    "‖P(X*) − P(Y)‖ ≤ ‖Y − cWX*‖/(c s_r(WX*) − s_{r+1}(Y)) for every c > 0",
    _one_step,
    {"rank X* = r": _one_step_rank, "the gap, with Y's value in it": _own_gap(BENT, 2)},
    _one_step_extremal,
)
statement(
    "one-step-any-rank",
    "Corollary 7.8",
    "X* of any rank: d = ‖W‖ s_{r+1}(X*) is added to ‖Y − cWX*‖/c and taken from s_r(WX*)",
    lambda seed, count: _one_step(seed, count, 0.1),
    {"what X* has beyond its rank": _one_step_rank},
    _one_step_extremal,
)

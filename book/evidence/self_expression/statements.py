"""Chapter 26, Self-expression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.self_expression.methods import ridge_self_expression, sparse_self_expression
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_projector


def _nuclear(A: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(A, "nuc")


def _low_rank(seed: int, count: int) -> tuple[Tensor, int]:
    """X (count, m, n) of rank r < n, and r."""
    r, more, m_more = make.shape(seed, r=(1, 4), more=(1, 5), m_more=(0, 3))
    left = make.gaussian(seed, "U", count, r + m_more, r)
    return left @ make.gaussian(seed, "V", count, r, r + more), r


def _feasible(X: Tensor, rank: int, seed: int) -> Tensor:
    """A random C with X = XC."""
    P = row_projector(X, rank)
    size = make.log_uniform(seed, "size", -2, 1, len(X), 1, 1)
    N = size * make.gaussian(seed, "N", *P.shape)
    return P + N - P @ N


def _carried_over(X: Tensor, G: Tensor, rank: int, seed: int) -> Sides:
    """C expresses the columns of GX by each other: does it express those of X? And any matrix B
    misses by s_r‖P(B − I)‖_F at least and s_1‖P(B − I)‖_F at most: X = XB only if PB = P.
    """
    C = _feasible(G @ X, rank, seed)
    B = C + make.log_uniform(seed, "off", -3, 0, len(X), 1, 1) * make.gaussian(seed, "B", *C.shape)
    I, s = make.eye(C.shape[-1]), torch.linalg.svdvals(X)  # noqa: E741
    missed, off = (torch.linalg.matrix_norm(A @ (B - I)) for A in (X, row_projector(X, int(rank))))
    expressed = make.norm(X @ C - X) / (make.norm(X) * (1 + make.norm(C)))
    return make.worst(
        (expressed, torch.full_like(expressed, ROUNDING)),
        (s[..., rank - 1] * off, missed * make.NEARLY),
        (missed, s[..., 0] * off * make.NEARLY),
    )


def _injective(seed: int, count: int) -> Sides:
    X, r = _low_rank(seed, count)
    (p,) = make.shape(seed, p=(0, 3))
    G = make.orthonormal(seed, "G", count, X.shape[1] + p, X.shape[1])
    sizes = make.log_uniform(seed, "sizes", -1, 1, count, 1, X.shape[1])
    return _carried_over(X, G * sizes, r, seed)


def _kills_a_direction() -> Sides:
    X = make.gaussian(0, "X", 2, 3)
    return _carried_over(X[None], make.matrix([[1, 0]])[None], 1, 0)


statement(
    "self-expression",
    "Proposition 26.1",
    "X = XC ⇔ PC = P: the same C for X and for GX, G injective on the span",
    _injective,
    {"G injective": _kills_a_direction},
    form="identity",
)


def _least(P: Tensor, C: Tensor) -> Sides:
    """‖P‖_* ≤ ‖C‖_*, with equality for C = P alone, and ‖C‖_F² = ‖P‖_F² + ‖C − P‖_F²."""
    squares = make.square(C), make.square(P)
    off = (squares[0] - squares[1] - make.square(C - P)).abs()
    other = torch.linalg.matrix_norm(C - P) > 1e-2
    strict = torch.where(other & (_nuclear(C) <= _nuclear(P) + ROUNDING), torch.inf, _nuclear(P))
    return make.join(
        Sides(strict, _nuclear(C) + ROUNDING),
        make.rounding(off / squares[0], ROUNDING),
    )


def _least_random(seed: int, count: int) -> Sides:
    X, r = _low_rank(seed, max(1, count // 2))
    return _least(row_projector(X, r), _feasible(X, r, seed))


def _least_extremal() -> Sides:
    P = row_projector(make.gaussian(0, "X", 2, 4), 2)[None]
    return Sides(_nuclear(P), _nuclear(P) + ROUNDING)


def _half_of_it() -> Sides:
    """P/2 does not express the points."""
    P = row_projector(make.gaussian(0, "X", 2, 4), 2)[None]
    return _least(P, P / 2)


statement(
    "smallest-self-expression",
    "Theorem 26.2",
    "X = XC ⇒ ‖C‖_* ≥ ‖P‖_* = r, ‖C‖_F² = r + ‖C − P‖_F²",
    _least_random,
    {"X = XC": _half_of_it},
    _least_extremal,
)


def _ridge(seed: int, count: int, wrong: int = 0) -> Sides:
    """‖C_λ − P_r(X)‖ against its formula, at λ = s_r s_{r+1} against s_{r+1}/(s_r + s_{r+1}), and
    that no other λ does better; and the gradient of ridge at C_λ, which vanishes at its minimiser.

    wrong: the projector of a rank higher by so much.
    """
    (k,) = make.shape(seed, k=(2, 5))
    r, m, n = make.shape(seed, rank=(1, k - 1), m=(k, 7), n=(k + 1, 8))
    s = make.uniform(seed, "s", 0.1, 2.0, max(1, count // 2), k).sort(-1, descending=True).values
    s[:, :r] += 0.1  # a gap at r
    X = make.with_spectrum(seed, "X", m, n, s)
    P = row_projector(X, r + wrong)
    lam = make.log_uniform(seed, "lam", -2, 1, len(s))
    high, low = s[:, r - 1].square(), s[:, r].square()
    formula = torch.maximum(lam / (high + lam), low / (low + lam))
    best, formula_best = s[:, r - 1] * s[:, r], s[:, r] / (s[:, r - 1] + s[:, r])
    pairs = (lam, formula), (best, formula_best)
    C = [ridge_self_expression(X, at) for at, _ in pairs]
    found = [make.norm(A - P) for A in C]
    off = [(d - wanted).abs() for d, (_, wanted) in zip(found, pairs, strict=True)]
    off.append((found[1] - found[0]).clamp(min=0))  # another λ did better
    slope = X.mT @ (X @ C[0] - X) + lam[:, None, None] * C[0]
    off.append(make.norm(slope) / make.norm(X).square())
    return make.rounding(torch.stack(off).amax(0), ROUNDING)


statement(
    "ridge",
    "Proposition 26.3",
    "‖C_λ − P_r(X)‖ = max(λ/(s_r² + λ), s_{r+1}²/(s_{r+1}² + λ))",
    _ridge,
    {"the rank of the gap": lambda: _ridge(0, 4, wrong=1)},
    form="identity",
)


def _one_neighbour(angle: Tensor, share: Tensor) -> Sides:
    """The Lasso's third column for X and for GX, against (1 − share) a e_1 and the same of e_2.

    Columns e_1, e_2, (cos, sin) of ``angle``, a its cosine; G = diag(1, cot²). P is compared too.
    """
    off = []
    for phi, part in zip(angle.tolist(), share.tolist(), strict=True):
        X = make.matrix([[1, 0, math.cos(phi)], [0, 1, math.sin(phi)]])
        GX = make.matrix([[1, 0], [0, math.tan(phi) ** -2]]) @ X
        carried = (1 - part) * X[0, 2]
        nothing = torch.zeros_like(carried)
        wanted = torch.stack([carried, nothing, nothing])
        found = [sparse_self_expression(A, part)[:, 2] for A in (X, GX)]
        moved = make.norm(row_projector(X, 2) - row_projector(GX, 2))
        apart = (found[0] - wanted).norm(), (found[1] - wanted[[1, 0, 2]]).norm(), moved
        off.append(torch.stack(apart).amax())
    return make.rounding(torch.stack(off), ROUNDING)


def _one_neighbour_random(seed: int, count: int) -> Sides:
    angle = make.uniform(seed, "angle", 0.05, 0.75, count)
    least = angle.tan()
    return _one_neighbour(angle, least + (1 - least) * make.uniform(seed, "share", 0, 1, count))


def _small_penalty() -> Sides:
    """Below the share tan φ the second neighbour takes part."""
    return _one_neighbour(make.vector(0.6), make.vector(0.1))


statement(
    "lasso-is-not-the-projector",
    "Counterexample 26.4",
    "X and GX with one row space: the Lasso takes the first neighbour, then the second",
    _one_neighbour_random,
    {"penalty above tan φ": _small_penalty},
    form="identity",
)

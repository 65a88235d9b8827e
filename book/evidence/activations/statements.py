"""Chapter 6, Activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from subspace_lib.projectors import projection_distance
from subspace_lib.rowspace import singular_value

SHAPES: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.relu,
    F.gelu,
    F.silu,
    torch.tanh,
    torch.abs,
    torch.sin,
    lambda a: F.leaky_relu(a, 0.1),
    lambda a: a.sign() * a.abs().sqrt(),
)


def pre_activations(seed: int, count: int) -> Tensor:
    """(count, p, n) at scales from 0.1 to 10, shifted by up to three standard deviations."""
    p, n = make.shape(seed, p=(1, 8), n=(2, 16))
    scale = make.log_uniform(seed, "scale", -1, 1, count, 1, 1)
    shift = make.uniform(seed, "shift", -1, 3, count, 1, 1)
    low = make.gaussian(seed, "low", count, p, 1) @ make.gaussian(seed, "rank", count, 1, n)
    return scale * (make.gaussian(seed, "A", count, p, n) + 2 * low + shift)


def _link(A: Tensor, Y: Tensor, r: int, gap: Tensor | None = None) -> Sides:
    """‖P_r(Y) − P_r(A)‖_max against ‖Y − A‖/δ₃ = ε/8 at the least ε allowed; √(2r) is weaker."""
    if gap is None:
        gap = singular_value(Y, r) - singular_value(A, r + 1)
    keep = (gap > 1e-9) & (singular_value(A, r) > 1e-9)
    A, Y, gap = A[keep], Y[keep], gap[keep]
    bound = make.norm(Y - A) / gap
    return Sides(projection_distance(A, Y, r), bound * NEARLY + 1e-12)


def _activation(seed: int, count: int) -> Sides:
    """Eight activations, and disturbances that are no function of the entry at all."""
    A = pre_activations(seed, count)
    (r,) = make.shape(seed, r=(1, min(A.shape[-2:])))
    (kind,) = make.shape(seed, kind=(0, len(SHAPES)))
    if kind == len(SHAPES):
        size = make.log_uniform(seed, "size", -4, 0, count, 1, 1)
        return _link(A, A + size * make.gaussian(seed, "E", *A.shape), r)
    blend = make.log_uniform(seed, "blend", -3, 0, count, 1, 1)  # 1: the activation itself
    return _link(A, A + blend * (SHAPES[kind](A) - A), r)


def _bent_rotation() -> Sides:
    """Y = diag(1, 0) and WX turned from it by a small angle: equality in the form with 8."""
    Y, A = make.turned(1e-2)
    return _link(A[None], Y[None], 1)


def _gap_before_the_activation() -> Sides:
    """s_1(WX) − s_2(WX) in place of δ₃: the activation exchanges the directions."""
    A, Y = make.matrix([[1, 0], [0, 0.9]]), make.matrix([[0.949, 0], [0, 0.951]])
    return _link(A[None], Y[None], 1, make.vector(0.1))


def _smaller_constant() -> Sides:
    sides = _bent_rotation()
    return Sides(sides.left, sides.right * 7.9 / 8)


statement(
    "bend-link",
    "Lemma 6.1",
    "δ₃ > 8 ‖Y − WX‖/ε (or √(2⁷r)) ⇒ ‖P_r(Y) − P_r(WX)‖_max < ε/8",
    _activation,
    {
        "δ₃ = s_r(Y) − s_{r+1}(WX), not the gap of WX alone": _gap_before_the_activation,
        "the constant 8, not 7.9": _smaller_constant,
    },
    _bent_rotation,
)


def _removed(A: Tensor, Y: Tensor) -> Sides:
    energy = make.square(torch.where(A < 0, A, 0.0))
    gone = torch.linalg.matrix_norm(Y - A).square()
    return Sides((gone - energy).abs(), 1e-12 * (1 + make.square(A)))


def _relu_removes(seed: int, count: int) -> Sides:
    A = pre_activations(seed, count)
    return _removed(A, torch.relu(A))


def _gelu_removes() -> Sides:
    A = pre_activations(0, 5)
    return _removed(A, F.gelu(A))


statement(
    "relu-removes",
    "Proposition 6.2",
    "‖relu(WX) − WX‖_F² = Σ of the squares of the negative entries",
    _relu_removes,
    {"σ = ReLU": _gelu_removes},
    form="identity",
)


def _half(A: Tensor, Y: Tensor, other: Tensor) -> Sides:
    """Y − A/2 = |A|/2, and no multiple of A is nearer to Y than c = ‖Y‖²/‖A‖²."""
    size = make.square(A)
    c = make.square(Y) / size
    best, rival = (make.square(Y - by[:, None, None] * A) for by in (c, other))
    wrong = make.largest(Y - A / 2 - A.abs() / 2)
    norm = (torch.linalg.matrix_norm(Y - A / 2) - torch.linalg.matrix_norm(A) / 2).abs()
    return Sides(wrong + norm + (best - rival).clamp(min=0), 1e-12 * (1 + size))  # NaN for A = 0


def _one_half(seed: int, count: int) -> Sides:
    A = pre_activations(seed, count)
    if seed % 2:  # as much energy above as below zero: the best multiple is one half
        A = torch.cat([A, -A], -1)
        c = make.square(torch.relu(A)) / make.square(A)
        sides = _half(A, torch.relu(A), make.uniform(seed, "rival", -1, 2, count))
        return Sides(sides.left + (c - 0.5).abs(), sides.right)
    return _half(A, torch.relu(A), make.uniform(seed, "rival", -1, 2, count))


def _half_of_tanh() -> Sides:
    A = pre_activations(0, 5)
    return _half(A, torch.tanh(A), torch.zeros(5, dtype=torch.float64))


def _zero_matrix() -> Sides:
    """Every multiple of 0 is as near, and ‖relu(A)‖²/‖A‖² is no number."""
    A = torch.zeros(1, 2, 3, dtype=torch.float64)
    return _half(A, A, make.vector(0.5))


def _unequal_energy() -> Sides:
    """More energy above zero: the best multiple is not one half."""
    A = make.matrix([[3, -1]])
    return make.one((torch.relu(A).square().sum() / A.square().sum() - 0.5).abs(), 1e-10)


statement(
    "relu-is-half",
    "Proposition 6.3",
    "relu(A) − A/2 = |A|/2; for A ≠ 0 the nearest multiple has c = ‖relu(A)‖²/‖A‖²",
    _one_half,
    {
        "σ = ReLU": _half_of_tanh,
        "equal energy on both sides (for c = ½)": _unequal_energy,
        "A ≠ 0 (for the nearest multiple)": _zero_matrix,
    },
    form="identity",
)


def _all_lost(A: Tensor) -> Sides:
    Y = A.abs()
    moved = (1 - projection_distance(A, Y, 1, "spectral")).abs()
    return make.rounding(
        moved + (torch.linalg.matrix_norm(Y) / torch.linalg.matrix_norm(A) - 1).abs()
    )


def _absolute_value(seed: int, count: int) -> Sides:
    """(1, −1), in any number of neurons and at any scale."""
    (p,) = make.shape(seed, p=(1, 8))
    return _all_lost(make.gaussian(seed, "u", count, p, 1) @ make.matrix([[1, -1]]))


statement(
    "absolute-value-loses-all",
    "Counterexample 6.4",
    "‖P_1(|A|) − P_1(A)‖ = 1 and ‖|A|‖_F = ‖A‖_F for A = (1, −1)",
    _absolute_value,
    {"entries of equal size": lambda: _all_lost(make.matrix([[1, -0.5]])[None])},
    form="identity",
)


def _unchanged(X: Tensor, W: Tensor) -> Sides:
    A = W @ X
    return make.rounding(make.largest(torch.relu(A) - A), 0.0)


def _non_negative(seed: int, count: int) -> Sides:
    """Zeros among the entries; the statement is exact, without an allowance."""
    p, m, n = make.shape(seed, p=(1, 8), m=(1, 8), n=(1, 8))
    X = make.gaussian(seed, "X", count, m, n).clamp(min=0)
    return _unchanged(X, make.gaussian(seed, "W", count, p, m).clamp(min=0))


statement(
    "idle-relu",
    "Corollary 6.5",
    "X ≥ 0, W ≥ 0 ⇒ relu(WX) = WX",
    _non_negative,
    {
        "W ≥ 0": lambda: _unchanged(
            make.matrix([[1, 0], [0, 1]])[None], make.matrix([[1, -1]])[None]
        ),
        "X ≥ 0": lambda: _unchanged(
            make.matrix([[1, -2], [0, 1]])[None], make.matrix([[1, 1]])[None]
        ),
    },
    form="identity",
)


def _spent(M: Tensor, variance: Tensor | None = None) -> tuple[Sides, Sides, Sides]:
    """Σ_{j≥2} s_j² against p n v, p n μ² against s_1², and μ²/(μ² + v) against its share."""
    s, number = torch.linalg.svdvals(M), M.shape[-2] * M.shape[-1]
    mean = M.mean((-2, -1))
    v = (M - mean[:, None, None]).square().mean((-2, -1)) if variance is None else variance
    share = s[..., 0] ** 2 / s.square().sum(-1)
    slack = 1e-12 * s[..., 0] ** 2
    return (
        Sides(s[..., 1:].square().sum(-1), number * v * NEARLY + slack),
        Sides(number * mean**2, s[..., 0] ** 2 * NEARLY),
        Sides(mean**2 / (mean**2 + v), share * NEARLY),
    )


def _rest(M: Tensor, variance: Tensor | None = None) -> Sides:
    return make.worst(*((s.left, s.right) for s in _spent(M, variance)))


def _one_direction(seed: int, count: int) -> Sides:
    """Any matrix, and non-negative ones made as WX."""
    p, m, n = make.shape(seed, p=(1, 8), m=(1, 8), n=(1, 8))
    W, X = make.uniform(seed, "W", 0, 1, count, p, m), make.gaussian(seed, "X", count, m, n)
    shift = make.uniform(seed, "shift", -2, 2, count, 1, 1)
    return _rest(W @ X.abs() if seed % 2 else make.gaussian(seed, "M", count, p, n) + shift)


def _equal_rows_and_columns() -> Sides:
    """All row and column sums equal: (1, …, 1) is a singular pair, and nothing is lost.

    3 I + 1 has the values 6, 3, 3 and the mean 2; the loosest of the three inequalities counts.
    """
    found = _spent((torch.ones(3, 3, dtype=torch.float64) + 3 * make.eye(3))[None])
    return make.one(min(s.tightest for s in found), 1.0)


def _around_another_number() -> Sides:
    """The spread around the mean, but of the absolute values: signs make it too small."""
    M = make.matrix([[1, -1], [-1, -1]])[None]
    return _rest(M, M.abs().var((-2, -1), correction=0))


statement(
    "price-of-positivity",
    "Proposition 6.6",
    "s_2² + s_3² + … ≤ p n v, s_1² ≥ p n μ², share of s_1² ≥ μ²/(μ² + v)",
    _one_direction,
    {"the variance of the entries themselves": _around_another_number},
    _equal_rows_and_columns,
)


# Gauss–Hermite nodes for N(0, 1): the mean over all coordinates of z but one, whose share is known
Z, CHANCES = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(60))
CHANCES = CHANCES / CHANCES.sum()


def chance_below(w: Tensor, x: Tensor, s: Tensor) -> Tensor:
    """P(wᵀ(x + z) < 0), coordinate by coordinate: (..., m), 1 ≤ m ≤ 3, w falling, w_1 > 0.

    Given z_2, …, z_m it is the chance that z_1 lies below a number; the rest is a sum over nodes.
    No use is made of the law of wᵀz.
    """
    rest = w.shape[-1] - 1
    grid, mass = (
        torch.cartesian_prod(*[v] * rest).reshape(-1, rest)
        if rest
        else torch.ones(1, 0, dtype=torch.float64)
        for v in (Z, CHANCES)
    )
    others = (w * x).sum(-1, keepdim=True) + s[:, None] * (w[:, 1:] @ grid.T)
    return (torch.special.ndtr(-others / (s * w[:, 0])[:, None]) * mass.prod(-1)).sum(-1)


def _shares(w: Tensor, x: Tensor, s: Tensor, seen: Tensor) -> Sides:
    """Φ(−wᵀx/(s‖w‖)) against what was computed without it."""
    length = torch.linalg.vector_norm(w, dim=-1)
    return make.rounding((torch.special.ndtr(-(w * x).sum(-1) / (s * length)) - seen).abs(), 1e-8)


def _draw(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    (m,) = make.shape(seed, m=(1, 3))
    w, x = make.uniform(seed, "w", 0, 1, count, m), make.uniform(seed, "x", 0, 1, count, m)
    if seed % 2:
        x = x * (make.uniform(seed, "zeros", 0, 1, count, m) < 0.5)
    w = w.sort(-1, descending=True).values.clamp(min=1e-3)
    return w, x, make.log_uniform(seed, "s", -1, 1, count)


def _negative(seed: int, count: int) -> Sides:
    w, x, s = _draw(seed, count)
    return _shares(w, x, s, chance_below(w, x, s))


def _one_sided_noise() -> Sides:
    """|z| in place of z: nothing becomes negative."""
    w, x, s = _draw(0, 100)
    return _shares(w, x, s, torch.zeros_like(s))


def _uniform_noise() -> Sides:
    """Symmetric and of variance s², but not Gaussian: a single coordinate shows it."""
    one, x = torch.ones(5, 1, dtype=torch.float64), torch.linspace(0.1, 1.5, 5)[:, None].double()
    seen = (0.5 - x[:, 0] / (2 * 3**0.5)).clamp(min=0)
    return _shares(one, x, one[:, 0], seen)


def _common_noise() -> Sides:
    """One noise value for all coordinates: variances do not add, standard deviations do."""
    w, x, s = _draw(2, 100)
    clean, length = (w * x).sum(-1, keepdim=True), w.sum(-1, keepdim=True)
    return _shares(w, x, s, chance_below(length, clean / length, s))


statement(
    "noise-against-positivity",
    "Proposition 6.7",
    "P(wᵀ(x + z) < 0) = Φ(−wᵀx/(s‖w‖)) for s > 0, by integration over the coordinates",
    _negative,
    {
        "symmetric noise": _one_sided_noise,
        "Gaussian noise": _uniform_noise,
        "independent coordinates": _common_noise,
    },
    form="identity",
)

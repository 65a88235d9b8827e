"""Chapter 4, Denoising."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import NEARLY
from evidence.statement import Sides, statement
from subspace_lib.projectors import projection_distance
from subspace_lib.rowspace import singular_value


def noisy(seed: int, count: int) -> tuple[Tensor, Tensor, int]:
    """Clean (count, m, n) of rank r with values in [0.1, 10], and noise, also of low rank."""
    m, n = make.shape(seed, m=(2, 10), n=(2, 16))
    r, rank_Z = make.shape(seed, r=(1, min(m, n)), rank_Z=(1, min(m, n)))
    clean = make.with_spectrum(seed, "clean", m, n, make.spectrum(seed, "values", -1, 1, count, r))
    left = make.gaussian(seed, "noise left", count, m, rank_Z)
    Z = left @ make.gaussian(seed, "noise right", count, rank_Z, n)
    return clean, Z * make.log_uniform(seed, "size", -5, 0, count, 1, 1), r


def least_margin(clean: Tensor, Z: Tensor, r: int, constant: float) -> tuple[Tensor, Tensor]:
    """The ε at which δ₁ = √constant ‖Z‖/ε, and where δ₁ is positive.

    The lemma holds for every larger ε, so its conclusion has to hold at this one without <.
    """
    gap = singular_value(clean, r) - singular_value(clean + Z, r + 1)
    positive = gap > 1e-9
    size = make.norm(Z)
    return constant**0.5 * size / torch.where(positive, gap, 1.0), positive


def link(clean: Tensor, Z: Tensor, r: int, constant: float) -> Sides:
    """‖P_r(X) − P_r(X*)‖_max against ε/8 at the least ε that the hypothesis allows."""
    epsilon, usable = least_margin(clean, Z, r, constant)
    moved = projection_distance(clean[usable], (clean + Z)[usable], r)
    return Sides(moved, epsilon[usable] / 8 * NEARLY + 1e-13)


def _denoise(seed: int, count: int) -> Sides:
    """Random noise, and rotations that Wedin's inequality describes exactly."""
    if seed % 4 == 0:
        angles = make.log_uniform(seed, "angle", -4, -1, count).tolist()
        turns = [_rotation(angle) for angle in angles]
        clean, Z = torch.cat([A for A, *_ in turns]), torch.cat([N for _, N, _ in turns])
        return link(clean, Z, 1, 128)
    clean, Z, r = noisy(seed, count)
    return link(clean, Z, r, 128 * r)


def _rotation(angle: float = 1e-2) -> tuple[Tensor, Tensor, int]:
    """Wedin with equality at a small angle, where the largest entry is nearly the sine."""
    A, B = make.turned(angle)
    return A[None], (B - A)[None], 1


def _rotation_beside(angle: float) -> tuple[Tensor, Tensor, int]:
    """The same beside an undisturbed direction of the same strength: r = 2."""
    A, Z, _ = _rotation(angle)
    pad = torch.nn.functional.pad
    clean = pad(A, (0, 1, 0, 1))
    clean[:, 2, 2] = 1
    return clean, pad(Z, (0, 1, 0, 1)), 2


def _copied_constant() -> Sides:
    """√(27 r), as the summary prints: for r ≤ 2 the lemma is then false."""
    one, two = link(*_rotation(), 27), link(*_rotation_beside(1e-2), 54)
    both = make.join(one, two)
    return Sides(both.left.amin()[None], both.right.amax()[None])  # both must be violated


def _exchange(constant: float) -> Sides:
    """δ' = s_1(X*) − s_2(X*) = 1 in place of δ₁: the noise exchanges the two directions."""
    clean, Z = make.matrix([[1, 0], [0, 0]]), make.matrix([[-0.501, 0], [0, 0.501]])
    moved = projection_distance(clean, clean + Z, 1)
    return make.one(moved, constant**0.5 * 0.501 / 8)


statement(
    "denoising-link",
    "Lemma 4.1",
    "δ₁ > √(2⁷r) ‖Z‖/ε ⇒ ‖P_r(X) − P_r(X*)‖_max < ε/8",
    _denoise,
    {
        "δ₁ = s_r(X*) − s_{r+1}(X), not the gap of X* alone": lambda: _exchange(128),
        "the constant 2⁷, not 27": _copied_constant,
    },
    loose="the way over the Frobenius norm costs √(2r); Proposition 4.3 is tight",
)


def _full_rank(seed: int, count: int) -> Sides:
    """The largest singular value k > r times, smaller ones behind it."""
    r, extra, tail = make.shape(seed, r=(1, 6), extra=(1, 3), tail=(0, 4))
    k = r + extra
    size = make.log_uniform(seed, "size", -2, 2, count, 1)
    smaller = make.uniform(seed, "smaller", 0, 1, count, tail)
    values = size * torch.cat([torch.ones(count, k, dtype=torch.float64), smaller], -1)
    Z = make.with_spectrum(seed, "Z", k + tail, k + tail + 1, values)
    return too_large(Z, r)


def too_large(Z: Tensor, r: int) -> Sides:
    """√r ‖Z‖ strictly below ‖Z‖_F: the printed proof needs the opposite order."""
    small = r**0.5 * make.norm(Z)
    return Sides(torch.where(small > 0, small, 1.0) * NEARLY, torch.linalg.matrix_norm(Z))


def _no_noise() -> Sides:
    """Z = 0: its largest value occurs m times, and 0 ≤ 0 is true."""
    return too_large(torch.zeros(1, 3, 3, dtype=torch.float64), 2)


def _equal_but_small() -> Sides:
    """Three equal values, r = 2, and one that is larger: the inequality is true."""
    return too_large(torch.diag(make.vector(10, 1, 1, 1))[None], 2)


def _low_rank() -> Sides:
    """Rank r − 1: the inequality is true."""
    return too_large(torch.diag(make.vector(1, 1, 0, 0))[None], 3)


statement(
    "frobenius-slip",
    "Counterexample 4.2",
    "‖Z‖_F > √r ‖Z‖ when the largest singular value of Z ≠ 0 occurs more than r times",
    _full_rank,
    {"the largest value": _equal_but_small, "more than r times": _low_rank, "Z ≠ 0": _no_noise},
    lambda: too_large(make.eye(101)[None], 100),
)

statement(
    "denoising-spectral",
    "Proposition 4.3",
    "δ₁ > 8 ‖Z‖/ε ⇒ ‖P_r(X) − P_r(X*)‖_max < ε/8",
    lambda seed, count: link(*noisy(seed, count), 64),
    {
        "δ₁ = s_r(X*) − s_{r+1}(X), not the gap of X* alone": lambda: _exchange(64),
        "the constant 8, not 7.9": lambda: link(*_rotation(), 7.9**2),
    },
    lambda: link(*_rotation(), 64),
)


def _noise_size(seed: int, count: int) -> Sides:
    """‖Z‖ against ε s_r(X*)/√(2⁷r) at an ε that satisfies the condition, from just to amply."""
    clean, Z, r = noisy(seed, count)
    epsilon, usable = least_margin(clean, Z, r, 128 * r)
    epsilon = epsilon * (1 + make.log_uniform(seed, "ample", -9, 1, count))
    right = epsilon * singular_value(clean, r) / (128 * r) ** 0.5
    return Sides(make.norm(Z)[usable], right[usable] * NEARLY)


def _noise_size_extremal() -> Sides:
    """X has rank r, so δ₁ = s_r(X*)."""
    clean, Z, r = _rotation()
    epsilon, _ = least_margin(clean, Z, r, 128)
    return make.one(make.norm(Z), epsilon / 128**0.5)


def _condition_not_met() -> Sides:
    """ε = 0.01 whatever the noise: the condition of Lemma 4.1 fails, and so does the bound."""
    _, Z, _ = _rotation(0.5)
    return make.one(make.norm(Z), 0.01 / 128**0.5)


statement(
    "noise-allowed",
    "Proposition 4.4",
    "the condition of Lemma 4.1 forces ‖Z‖ < ε s_r(X*)/√(2⁷r)",
    _noise_size,
    {"the condition of Lemma 4.1": _condition_not_met},
    _noise_size_extremal,
)

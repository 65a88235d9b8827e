"""Chapter 17, Depth."""

from __future__ import annotations

from math import cos, sin

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement


def _ceiling(V: Tensor, Y: Tensor, W: Tensor, q: int, relu: bool = False) -> Sides:
    """The share in the top q of WY, and what the best W leaves of it, against the ceiling."""
    ceiling = make.share(V, make.row_space(Y))
    image = torch.relu(W @ Y) if relu else W @ Y
    found = make.share(V, make.row_space(image, q))
    best = V @ torch.linalg.pinv(Y) @ Y
    missed = (ceiling - make.share(V, make.row_space(best, V.shape[-2]))).abs()
    return Sides(torch.maximum(found, ceiling + missed), ceiling + ROUNDING)


def _ceiling_random(seed: int, count: int) -> Sides:
    r, p, h, n = make.shape(seed, r=(1, 3), p=(1, 6), h=(1, 6), n=(3, 9))
    (q,) = make.shape(seed, q=(1, h))
    V = make.orthonormal(seed, "V", count, n, r).mT
    near = make.log_uniform(seed, "near", -2, 1, count, 1, 1)
    Y = make.gaussian(seed, "mix", count, p, r) @ V + near * make.gaussian(seed, "Y", count, p, n)
    W = make.gaussian(seed, "W", count, h, p)
    # weights that reach for the signal: random ones rarely come near the ceiling
    reach = make.gaussian(seed, "reach", count, h, r) @ V @ torch.linalg.pinv(Y)
    return _ceiling(V, Y, W * make.log_uniform(seed, "size", -6, 0, count, 1, 1) + reach, q)


def _ceiling_extremal() -> Sides:
    V = make.matrix([[1, 0]])[None]
    return _ceiling(V, V, make.eye(1)[None], 1)


def _with_relu() -> Sides:
    """Y = (1, −1) is orthogonal to the constant; relu of ±Y spans everything."""
    V, Y = make.matrix([[1, 1]])[None] / 2**0.5, make.matrix([[1, -1]])[None]
    return _ceiling(V, Y, make.matrix([[1], [-1]])[None], 2, relu=True)


statement(
    "ceiling",
    "Theorem 17.1",
    "share of P in P_q(WY) ≤ share of P in row(Y), attained",
    _ceiling_random,
    {"a linear map": _with_relu},
    _ceiling_extremal,
)


def _forced(clean: Tensor, r: int, Y: Tensor, output: Tensor) -> Sides:
    """r(1 − c) against ‖X̂ − X*‖_F²/s_r²."""
    s = torch.linalg.svdvals(clean)[..., r - 1]
    left = r * (1 - make.share(make.row_space(clean, r), make.row_space(Y)))
    return Sides(left, make.square(output - clean) / s**2 + ROUNDING)


def _forced_random(seed: int, count: int) -> Sides:
    r, more, p, n = make.shape(seed, r=(1, 3), more=(0, 3), p=(1, 7), n=(4, 9))
    X = make.with_spectrum(seed, "X", r + more, n, make.spectrum(seed, "s", -1, 1, count, r))
    near = make.log_uniform(seed, "near", -3, 1, count, 1, 1)
    Y = make.gaussian(seed, "mix", count, p, r + more) @ X
    Y = Y + near * make.gaussian(seed, "rest", count, p, n)
    off = make.log_uniform(seed, "off", -4, 0, count, 1, 1)
    D = X @ torch.linalg.pinv(Y) + off * make.gaussian(seed, "D", count, r + more, p)
    return _forced(X, r, Y, D @ Y)


def _forced_extremal() -> Sides:
    """Y orthogonal to the one signal direction, the output 0."""
    X, Y = make.matrix([[2, 0]])[None], make.matrix([[0, 1]])[None]
    return _forced(X, 1, Y, torch.zeros_like(X))


def _nonlinear_output() -> Sides:
    """relu(Y) = X* exactly, but row(Y) holds half of it."""
    X, Y = make.matrix([[1, 0]])[None], make.matrix([[1, -1]])[None]
    return _forced(X, 1, Y, torch.relu(Y))


statement(
    "loss-binds-last-layer",
    "Theorem 17.2",
    "X̂ = DY ⇒ r(1 − share of P(X*) in row(Y)) ≤ ‖X̂ − X*‖_F²/s_r(X*)²",
    _forced_random,
    {"a linear output layer": _nonlinear_output},
    _forced_extremal,
)


def _angles(A: Tensor, B: Tensor) -> Tensor:
    """Largest angle between row spaces of orthonormal rows, from sine and cosine."""
    sine = make.norm(make.outside(B, A)).clamp(max=1)
    cosine = torch.linalg.svdvals(A @ B.mT)[..., -1].clamp(max=1)
    return torch.where(sine < 0.7, torch.asin(sine), torch.acos(cosine))


def _two_angles(R: Tensor, A: Tensor, B: Tensor) -> Sides:
    """‖P_A − P_B‖ against sin(θ_A + θ_B), 1 from a right angle on."""
    total = (_angles(R, A) + _angles(R, B)).clamp(max=torch.pi / 2)
    return Sides(make.norm(A.mT @ A - B.mT @ B), torch.sin(total) + ROUNDING)


def _two_angles_random(seed: int, count: int) -> Sides:
    k, more = make.shape(seed, k=(1, 4), more=(1, 6))
    R = make.orthonormal(seed, "R", count, k + more, k).mT
    sizes = [make.log_uniform(seed, name, -3, 0, count, 1, 1) for name in "AB"]
    A, B = (
        make.row_space(R + size * make.gaussian(seed, f"turn {name}", count, k, k + more))
        for size, name in zip(sizes, "AB", strict=True)
    )
    return _two_angles(R, A, B)


def _line(angle: float) -> Tensor:
    return make.matrix([[cos(angle), sin(angle)]])[None]


def _two_angles_extremal() -> Sides:
    """Lines in the plane, turned to opposite sides."""
    return _two_angles(_line(0.0), _line(0.4), _line(-0.6))


def _unequal_ranks() -> Sides:
    """A line inside a plane: both angles into the reference vanish, and the projectors differ."""
    eye = make.eye(3)[None]
    plane, line = eye[:, :2], eye[:, :1]
    sines = [make.norm(make.outside(V, plane)) for V in (plane, line)]
    distance = make.norm(plane.mT @ plane - line.mT @ line)
    return Sides(distance, torch.sin(torch.asin(sines[0]) + torch.asin(sines[1])) + ROUNDING)


statement(
    "two-angles",
    "Proposition 17.6",
    "‖P_k(Y) − P_k(Y')‖ ≤ sin(θ + θ'), angles to one reference",
    _two_angles_random,
    {"equal ranks": _unequal_ranks},
    _two_angles_extremal,
)

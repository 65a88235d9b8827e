"""Chapter 18, Other activations and recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from evidence import instances as make
from evidence.statement import Sides, statement
from subspace_lib.rowspace import singular_value

Activation = Callable[[Tensor], Tensor]
HALF: tuple[tuple[Activation, float], ...] = (
    (F.gelu, 1 / sqrt(2 * pi)),
    (F.silu, 0.25),
)  # |σ(a) − a/2| ≤ c a²


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where the decreasing function f changes sign, by bisection."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return low


def _density(a: float) -> float:
    return exp(-a * a / 2) / sqrt(2 * pi)


def _tail(a: float) -> float:
    return float(torch.special.ndtr(torch.tensor(-a, dtype=torch.float64)))


# The largest |σ(a) − relu(a)|: see Lemma 18.3.
GELU_AT = _root(lambda a: _tail(a) - a * _density(a), 0.0, 2.0)
SILU_AT = _root(lambda a: 1 + exp(a) - a * exp(a), 0.0, 3.0)
FAR: tuple[tuple[Activation, float], ...] = (
    (F.gelu, GELU_AT**2 * _density(GELU_AT)),
    (F.silu, SILU_AT - 1),
)


def _numbers(seed: int, count: int) -> Tensor:
    sign = torch.sign(make.gaussian(seed, "sign", count))
    return sign * make.log_uniform(seed, "size", -3, 2, count)


def _near(seed: int, count: int) -> Sides:
    """The three functions in turn."""
    a = _numbers(seed, count)
    if seed % 3 == 2:
        return Sides((torch.tanh(a) - a).abs(), a.abs() ** 3 / 3)
    f, c = HALF[seed % 3]
    return Sides((f(a) - a / 2).abs(), c * a * a)


def _relu_near() -> Sides:
    a = torch.tensor(0.1, dtype=torch.float64)
    return make.one((torch.relu(a) - a / 2).abs(), a * a)


def _near_zero() -> Sides:
    a = torch.tensor(0.01, dtype=torch.float64)
    half = [make.one(f(a) - a / 2, c * a * a) for f, c in HALF]
    return make.every(*half, make.one((torch.tanh(a) - a).abs(), a**3 / 3))


statement(
    "near-zero",
    "Lemma 18.1",
    "|gelu(a) − a/2| ≤ a²/√(2π), |silu(a) − a/2| ≤ a²/4, |tanh(a) − a| ≤ |a|³/3",
    _near,
    {"a derivative at zero (not ReLU)": _relu_near},
    _near_zero,
)


def _gap(A: Tensor, r: int) -> Tensor:
    return singular_value(A, r) - singular_value(A, r + 1)


def _moved(A: Tensor, B: Tensor, e: Tensor, r: int) -> Sides:
    """The distance against e/(δ − e), on the instances with e < δ; rounding is allowed for."""
    gap = _gap(A, r)
    keep = e < gap
    return Sides(make.distance(A[keep], B[keep], r), (e / (gap - e) + 1e-9)[keep])


def _matrices(seed: int, count: int) -> tuple[Tensor, int]:
    r, p, n = make.shape(seed, r=(1, 3), p=(4, 8), n=(4, 12))
    spectrum = torch.ones(count, min(p, n), dtype=torch.float64)
    spectrum[:, r:] = make.uniform(seed, "tail", 0, 0.3, count, 1)
    return make.with_spectrum(seed, "A", p, n, spectrum), r


def _square(A: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(A * A)


def _small(seed: int, count: int) -> Sides:
    A, r = _matrices(seed, count)
    A = A * make.log_uniform(seed, "scale", -4, 0, count)[:, None, None]
    f, c = HALF[seed % 2]
    return _moved(A, f(A), 2 * c * _square(A), r)


# Two points that are one to nine digits, so that a function may push them apart as it likes.
TWINS = make.matrix([[1.0, 1.0 + 1e-9]])


def _small_extremal() -> Sides:
    """2σ(a) = a ± 2ca² with c = 5·10⁻⁴, so that e = 2c‖A∘A‖_F."""
    c = torch.tensor(5e-4, dtype=torch.float64)
    E = make.matrix([[1.0, -1.0]]) * 2 * c * TWINS * TWINS
    return _moved(TWINS[None], (TWINS + E)[None], 2 * c * _square(TWINS[None]), 1)


def _large_extremal() -> Sides:
    """σ(ta) = ta ± k with k = 1 and t = 1000, so that e = k√(pn)/t."""
    k, t = 1.0, 1e3
    B = t * TWINS + k * make.matrix([[1.0, -1.0]])
    e = torch.tensor([k * TWINS.numel() ** 0.5 / t], dtype=torch.float64)
    return _moved(TWINS[None], B[None], e, 1)


def _relu_small() -> Sides:
    A, r = _matrices(0, 20)
    A = 1e-3 * A
    return _moved(A, torch.relu(A), 2 * HALF[0][1] * _square(A), r)


def _not_small() -> Sides:
    """Beyond e = δ the quotient is negative."""
    A, r = _matrices(0, 20)
    A = 1e3 * A
    e = 2 * HALF[0][1] * _square(A)
    return Sides(make.distance(A, F.gelu(A), r), e / (_gap(A, r) - e))


statement(
    "small-preactivations",
    "Theorem 18.2",
    "e = 2c‖A∘A‖_F < δ = s_r(A) − s_{r+1}(A): ‖P_r(A) − P_r(σ(A))‖ ≤ e/(δ − e)",
    _small,
    {"|σ(a) − a/2| ≤ ca²": _relu_small, "e < δ": _not_small},
    _small_extremal,
)


def _far(seed: int, count: int) -> Sides:
    a = _numbers(seed, count)
    f, k = FAR[seed % 2]
    return Sides((f(a) - torch.relu(a)).abs(), torch.full_like(a, k))


def _farthest() -> Sides:
    a = make.vector(GELU_AT, SILU_AT)
    pairs = zip(FAR, a, strict=True)
    return make.every(*(make.one((f(x) - torch.relu(x)).abs(), k + 1e-12) for (f, k), x in pairs))


def _tanh_far() -> Sides:
    a = torch.tensor(3.0, dtype=torch.float64)
    return make.one((torch.tanh(a) - torch.relu(a)).abs(), FAR[1][1])


statement(
    "far-from-zero",
    "Lemma 18.3",
    "|gelu(a) − relu(a)| ≤ 0.1700, |silu(a) − relu(a)| ≤ 0.2785 (the maxima)",
    _far,
    {"GELU or SiLU (not tanh)": _tanh_far},
    _farthest,
)


def _large(seed: int, count: int) -> Sides:
    A, r = _matrices(seed, count)
    t = make.log_uniform(seed, "scale", 0, 4, count)
    R, size = torch.relu(A), (A.shape[-1] * A.shape[-2]) ** 0.5
    f, k = FAR[seed % 2]
    return _moved(R, f(t[:, None, None] * A), k * size / t, r)


def _tanh_large() -> Sides:
    A, r = _matrices(0, 20)
    size = (A.shape[-1] * A.shape[-2]) ** 0.5
    e = torch.full((20,), FAR[1][1] * size / 1e4, dtype=torch.float64)
    return _moved(torch.relu(A), torch.tanh(1e4 * A), e, r)


def _not_large() -> Sides:
    A, r = _matrices(0, 20)
    e = torch.full((20,), FAR[0][1] * (A.shape[-1] * A.shape[-2]) ** 0.5 / 1e-3)
    R = torch.relu(A)
    return Sides(make.distance(R, F.gelu(1e-3 * A), r), e / (_gap(R, r) - e))


statement(
    "large-preactivations",
    "Theorem 18.4",
    "e = k√(pn)/t < δ = s_r(relu A) − s_{r+1}(relu A): ‖P_r(relu A) − P_r(σ(tA))‖ ≤ e/(δ − e)",
    _large,
    {"|σ − relu| ≤ k": _tanh_large, "e < δ": _not_large},
    _large_extremal,
)


def _scaled_loss(seed: int, count: int, act: Activation = torch.relu, bias: float = 0.0) -> Sides:
    """Relative change of the normalised loss and its gradient between X and tX."""
    m, p, n = make.shape(seed, m=(2, 5), p=(1, 5), n=(2, 8))
    W, D = make.gaussian(seed, "W", count, p, m), make.gaussian(seed, "D", count, m, p)
    X = make.gaussian(seed, "X", count, m, n)
    t = make.log_uniform(seed, "t", -2, 2, count)[:, None, None]
    found = []
    for Z in (X, t * X):
        leaves = [M.clone().requires_grad_() for M in (W, D)]
        error = leaves[1] @ act(leaves[0] @ Z + bias) - Z
        loss = error.square().sum((-2, -1)) / Z.square().sum((-2, -1))
        grads = torch.autograd.grad(loss.sum(), leaves)
        found.append(torch.cat([loss.detach()[:, None], *(g.flatten(1) for g in grads)], 1))
    size = 1 + found[0].abs().amax(1)
    return make.rounding((found[0] - found[1]).abs().amax(1) / size, 1e-9)


statement(
    "relu-ignores-scale",
    "Proposition 18.5",
    "‖D relu(WX) − X‖²/‖X‖² and its gradients do not change when X becomes tX, t > 0",
    _scaled_loss,
    {
        "positively homogeneous": lambda: _scaled_loss(0, 10, F.gelu),
        "no bias": lambda: _scaled_loss(0, 10, bias=1.0),
    },
    form="identity",
)


def _merged(seed: int, count: int, even: bool = True) -> Sides:
    """Points (a, b) and (−a, b) of two lines: equal images under a = |·|, W = I."""
    a, b = make.log_uniform(seed, "a", -2, 2, 2, count)
    X = torch.stack([torch.stack([a, -a], -1), torch.stack([b, b], -1)], 1)
    Y = X.abs() if even else torch.tanh(X)
    before, after = (make.count_rank(M) for M in (X, Y))
    return make.flags((before != 2) | (after != 1))


statement(
    "even-activation",
    "Counterexample 18.6",
    "W = I and an even activation: two independent lines become one point's line",
    _merged,
    {"even activation": lambda: _merged(0, 10, even=False)},
    form="identity",
)


def _step(enter: Tensor, g: Tensor, leave: Tensor, memory: float = 0.0) -> Sides:
    c = memory + torch.sigmoid(enter) * torch.relu(g)
    h = torch.sigmoid(leave) * torch.relu(c)
    allowed = (enter.abs() / 4 + leave.abs() / 8) * torch.relu(g)
    return Sides((h - torch.relu(g) / 4).abs(), allowed * (1 + 1e-12) + 1e-14)


def _first_step(seed: int, count: int) -> Sides:
    enter, leave = _numbers(seed, count), _numbers(seed + 1, count)
    return _step(enter, 1 + make.gaussian(seed, "g", count), leave)


def _full_memory() -> Sides:
    x = torch.full((1,), 0.1, dtype=torch.float64)
    return _step(x, x, x, memory=1.0)


def _tight_step() -> Sides:
    enter, g, leave = torch.tensor([[0.0], [1.0], [0.01]], dtype=torch.float64)
    return _step(enter, g, leave)


statement(
    "lstm-first-step",
    "Proposition 18.7",
    "|h − relu(g)/4| ≤ (|i|/4 + |o|/8) relu(g) in the first step of an LSTM with ReLU",
    _first_step,
    {"empty memory": _full_memory},
    _tight_step,
)

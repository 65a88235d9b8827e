"""Chapter 22, Non-negative features."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.networks import FeedForward, Params


def _states(m: int, q: Tensor) -> tuple[Tensor, Tensor]:
    """All rows of m independent two-valued entries of mean 0 and variance 1, and their chances.

    q: (count,), the chance of the upper value. Returns (count, 2^m, m) and (count, 2^m).
    """
    bits = torch.cartesian_prod(*[make.vector(0.0, 1.0)] * m).reshape(-1, m)
    q = q[:, None, None]
    values = torch.where(bits > 0, ((1 - q) / q).sqrt(), -(q / (1 - q)).sqrt())
    return values, torch.where(bits > 0, q, 1 - q).prod(-1)


def _second_moment(rows: Tensor, chances: Tensor, X: Tensor) -> Tensor:
    """E[(wX)ᵀ(wX)] of one row of W, summed over all its values."""
    A = rows @ X  # (count, 2^m, n)
    return (A * chances[..., None]).mT @ A


def _one_direction(
    M: Tensor, X: Tensor, mu: Tensor, tau: Tensor, positive: bool, only: int | None = None
) -> Sides:
    """M against its formula; its eigenvalues against (22.2), (22.3), and (22.4) where X ≥ 0.

    only: the one of these that is looked at.
    """
    a = X.sum(-2, keepdim=True)  # (count, 1, n)
    mu2, tau2 = mu[:, None, None] ** 2, tau[:, None, None] ** 2
    formula = tau2 * X.mT @ X + mu2 * a.mT @ a
    off = torch.linalg.matrix_norm(M - formula) / torch.linalg.matrix_norm(formula)
    eigen = torch.linalg.eigvalsh(M).flip(-1)
    s = torch.linalg.svdvals(X).square()
    k = min(s.shape[-1], eigen.shape[-1] - 1)
    size = make.square(a)
    top = mu**2 * size + tau**2 * make.square(X @ a.mT) / size
    slack = ROUNDING * eigen[:, 0]
    checks = [
        off / ROUNDING,
        top / (eigen[:, 0] + slack),
        (eigen[:, 1 : k + 1] / (tau[:, None] ** 2 * s[:, :k] + slack[:, None])).amax(-1),
    ]
    if positive:
        checks.append(2 * (mu / tau) ** 2 * eigen[:, 1] / (eigen[:, 0] + slack))
        checks.append(make.square(X) / (size * make.NEARLY))
    return make.ratios(*(checks if only is None else [checks[only]]), slack=ROUNDING)


def _one_direction_random(seed: int, count: int) -> Sides:
    m, n, positive = make.shape(seed, m=(1, 5), n=(2, 6), positive=(0, 1))
    X = make.gaussian(seed, "X", count, m, n)
    X = X.abs() if positive else X
    mu = make.log_uniform(seed, "mean", -2, 1, count)
    tau = make.log_uniform(seed, "deviation", -2, 1, count)
    rows, chances = _states(m, make.uniform(seed, "q", 0.1, 0.9, count))
    rows = mu[:, None, None] + tau[:, None, None] * rows
    return _one_direction(_second_moment(rows, chances, X), X, mu, tau, bool(positive))


ONE, HALF = make.vector(1), make.vector(0.5)


def _plane(mu: float, tau: float, X: Tensor) -> Tensor:
    """E[(wX)ᵀ(wX)] for two independent entries μ ± τ."""
    rows, chances = _states(2, HALF)
    return _second_moment(mu + tau * rows, chances, X[None])


def _identity_features() -> Sides:
    """X = I: λ_1 = τ² + 2μ² and λ_2 = τ² attain (22.2) and (22.3), and (22.4) up to τ²/2μ²."""
    eye = make.eye(2)
    M = _plane(1, 0.5, eye)
    both = (_one_direction(M, eye[None], ONE, HALF, True, only=k) for k in (1, 2))
    small = make.vector(0.05)
    last = _one_direction(_plane(1, 0.05, eye), eye[None], ONE, small, True, only=3)
    return make.every(*both, last)


def _constant_weights() -> Sides:
    """τ = 0: every unit is the same, λ_2 = 0, and μ²/τ² is no number."""
    eye = make.eye(2)
    return _one_direction(_plane(1, 0, eye), eye[None], ONE, 0 * ONE, True)


def _centred_weights() -> Sides:
    """The same weights without their mean: nothing is inflated."""
    eye = make.eye(2)
    return _one_direction(_plane(0, 0.5, eye), eye[None], ONE, HALF, True)


def _constant_row_sums() -> Sides:
    """Two entries μ ± τ of opposite signs: the direction 1 does not fluctuate, the other twice."""
    rows = make.matrix([[1.5, 0.5], [0.5, 1.5]])[None]
    chances, eye = torch.full((1, 2), 0.5).double(), make.eye(2)[None]
    return _one_direction(
        _second_moment(rows, chances, eye), eye, make.vector(1), make.vector(0.5), True
    )


def _features_of_both_signs() -> Sides:
    """Features that nearly cancel: Xᵀ1 is small, and (22.4) fails."""
    X = make.matrix([[1, 0.1], [-1, 0.1]])
    return _one_direction(_plane(7, 1, X), X[None], 7 * ONE, ONE, True)


statement(
    "price-of-a-mean",
    "Proposition 22.1",
    "E[(WX)ᵀWX] = p(τ²XᵀX + μ²aaᵀ), a = Xᵀ1; λ_1 ≥ p(μ²‖a‖² + …), λ_j ≤ pτ²s_{j−1}(X)²; "
    "X ≥ 0, τ > 0 ⇒ λ_1 ≥ (2μ²/τ²) λ_2",
    _one_direction_random,
    {
        "mean μ": _centred_weights,
        "τ > 0": _constant_weights,
        "independent entries": _constant_row_sums,
        "non-negative features": _features_of_both_signs,
    },
    _identity_features,
)


def _descent(Y: Tensor, D: Tensor, T: Tensor, rate: Tensor, steps: int) -> Sides:
    """Gradient descent on D: the error along every v_j with λ_j ≤ λ_1/2, from below, and the steps
    that it took against (λ_1/2λ_j − 1) log of the factor by which it shrank.
    """
    V, s = torch.linalg.svd(Y, full_matrices=False)[2].mT, torch.linalg.svdvals(Y).square()
    before = torch.linalg.vector_norm((D @ Y - T) @ V, dim=-2)
    for _ in range(steps):
        D = D - rate[:, None, None] * (D @ Y - T) @ Y.mT
    after = torch.linalg.vector_norm((D @ Y - T) @ V, dim=-2)
    least = (1 - 2 * s / s[:, :1]).clamp(min=0) ** steps * before  # 0 where λ_j > λ_1/2
    size = torch.linalg.vector_norm(T, dim=(-2, -1))[:, None]
    shrunk = torch.log(before / (after + ROUNDING * size)).clamp(min=0)
    needed = (s[:, :1] / (2 * s) - 1).clamp(min=0) * shrunk / steps
    return make.ratios(
        (least / (after + ROUNDING * size)).amax(-1), needed.amax(-1), slack=ROUNDING
    )


def _descent_random(seed: int, count: int) -> Sides:
    p, n, c, steps = make.shape(seed, p=(2, 5), n=(2, 7), c=(1, 3), steps=(1, 12))
    Y = make.with_spectrum(
        seed, "Y", p, n, make.spectrum(seed, "spectrum", -1.5, 0, count, min(p, n))
    )
    D, T = make.gaussian(seed, "D", count, c, p), make.gaussian(seed, "T", count, c, n)
    rate = make.uniform(seed, "rate", 0, 2, count) / torch.linalg.svdvals(Y)[:, 0].square()
    return _descent(Y, D, T, rate, steps)


def _two_directions(rate: float) -> Sides:
    """λ_1 = 1 and λ_2 = 1/10; nothing is left to learn along the first."""
    Y = torch.diag(make.vector(1.0, 0.1).sqrt())[None]
    D, T = torch.zeros(1, 1, 2).double(), make.matrix([[0, 1]])[None]
    return _descent(Y, D, T, make.vector(rate), 5)


statement(
    "pace-of-readout",
    "Proposition 22.2",
    "descent on the readout at a stable rate: ‖E_t v_j‖ ≥ (1 − 2λ_j/λ_1)^t ‖E_0 v_j‖",
    _descent_random,
    {"a stable rate": lambda: _two_directions(10.0)},
    lambda: _two_directions(2.0),
)


def _with_gradient(net: FeedForward, params: Params, X: Tensor, T: Tensor) -> list[Tensor]:
    """Output, and the gradient of ‖output − T‖² by every parameter."""
    leaves = {key: p.clone().requires_grad_() for key, p in params.items()}
    out = net.output(leaves, X)
    grads = torch.autograd.grad((out - T).square().sum(), list(leaves.values()))
    return [out.detach(), *grads]


def _linear_network(net: FeedForward, params: Params, X: Tensor, T: Tensor) -> Sides:
    """A ReLU network against the same network without activations and their product."""
    plain = FeedForward(net.widths, activation="identity", bias=net.bias)
    found, wanted = (_with_gradient(network, params, X, T) for network in (net, plain))
    if not net.bias:
        product = params["W1"]
        for i in range(2, net.depth + 2):
            product = params[f"W{i}"] @ product
        found, wanted = [*found, net.output(params, X)], [*wanted, product @ X]
    pairs = ((A.flatten(1), B.flatten(1)) for A, B in zip(found, wanted, strict=True))
    off = [(A - B).norm(dim=1) / (1 + B.norm(dim=1)) for A, B in pairs]
    return make.rounding(torch.stack(off).amax(0), ROUNDING)


def _positive_network(seed: int, count: int) -> tuple[FeedForward, Params, Tensor, Tensor]:
    m, p, depth, n, bias = make.shape(seed, m=(1, 4), p=(1, 4), depth=(1, 4), n=(1, 5), bias=(0, 1))
    net = FeedForward((m, *[p] * depth, 2), bias=bool(bias))
    params = {}
    for key, size in net.shapes().items():
        readout = key.endswith(str(depth + 1))
        draw = make.gaussian(seed, key, count, *size)
        params[key] = draw if readout else draw.abs()
    X = make.uniform(seed, "X", 0.01, 1, count, m, n)
    return net, params, X, make.gaussian(seed, "T", count, 2, n)


def _one_unit(w: float, x: float) -> Sides:
    """One unit, one point: relu(w x)."""
    net = FeedForward((1, 1, 1))
    one = make.eye(1)[None]
    return _linear_network(net, {"W1": w * one, "W2": one}, x * one, 0 * one)


statement(
    "positive-network-is-linear",
    "Proposition 22.3",
    "X ≥ 0, hidden weights and biases ≥ 0: the network is affine, and so is its training step",
    lambda seed, count: _linear_network(*_positive_network(seed, count)),
    {
        "non-negative weights": lambda: _one_unit(-1.0, 1.0),
        "non-negative features": lambda: _one_unit(1.0, -1.0),
    },
    form="identity",
)

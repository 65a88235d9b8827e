"""Chapter 20, Attention."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.convolution.statements import clean_data
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_projector


def _mixed(weights: Tensor, W: Tensor, C: Tensor, X: Tensor) -> Tensor:
    """Y with columns (C + A_j ⊗ W)x_j. weights: (count, n, S, S), X: (count, S · D, n)."""
    tokens = X.mT.unflatten(-1, (weights.shape[-1], -1))  # (count, n, S, D)
    mixed = (weights @ tokens @ W.mT[:, None]).flatten(-2).mT
    return C @ X + mixed


def _kron(A: Tensor, W: Tensor) -> Tensor:
    """A ⊗ W for each of a batch."""
    return torch.einsum("tab,tcd->tacbd", A, W).flatten(1, 2).flatten(2, 3)


def _steady(
    weights: Tensor,
    W: Tensor,
    C: Tensor,
    clean: Tensor,
    Z: Tensor,
    r: int,
    spread: float = 1.0,
    noise: float = 1.0,
) -> Sides:
    """‖P(X*) − P_r(Y)‖ against e/(s_r − e); ``spread`` and ``noise`` = 0 forget a term of e."""
    X = clean + Z
    mean = weights.mean(1)
    T = C + _kron(mean, W)
    omega = make.norm(weights - mean[:, None]).amax(-1) * make.norm(W)
    e = spread * omega * torch.linalg.matrix_norm(X) + noise * make.norm(T @ Z)
    gap = torch.linalg.svdvals(T @ clean)[:, r - 1] - e
    usable = gap > 0
    Y = _mixed(weights, W, C, X)[usable]
    distance = make.norm(row_projector(Y, r) - row_projector(clean[usable], r))
    return Sides(distance, (e / gap)[usable] + ROUNDING)


def _attention(seed: int, count: int) -> Sides:
    S, D, r = make.shape(seed, S=(1, 4), D=(1, 4), r=(1, 3))
    r = min(r, S * D)
    n = r + make.shape(seed, n=(1, 6))[0]
    scores = make.gaussian(seed, "scores", count, n, S, S)
    fixed = make.gaussian(seed, "fixed", count, 1, S, S)
    varying = make.log_uniform(seed, "varying", -5, -1, count, 1, 1, 1)
    weights = torch.softmax(fixed + varying * scores, -1)
    W = make.gaussian(seed, "W", count, D, D)
    C = (seed % 2) * make.eye(S * D).expand(count, -1, -1)
    Z = make.gaussian(seed, "Z", count, S * D, n)
    Z = make.log_uniform(seed, "noise", -6, -1, count, 1, 1) * Z
    return _steady(weights, W, C, clean_data(seed, count, S * D, n, r), Z, r)


def _noise_alone() -> Sides:
    """One token of two numbers, X* = e₁e₁ᵀ and noise t·e₁e₂ᵀ: sin θ = t/√(1 + t²)."""
    weights = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    W, C = make.eye(2)[None], torch.zeros(1, 2, 2, dtype=torch.float64)
    clean, Z = make.matrix([[1, 0], [0, 0]]), 1e-3 * make.matrix([[0, 1], [0, 0]])
    return _steady(weights, W, C, clean[None], Z[None], 1)


def _spread_alone() -> Sides:
    """Two points on each of two axes, X = [e₁ e₁ e₂ e₂]; the weights push all four along e₁, by t,
    −t, t and −t: ‖Δ‖ = t‖X‖_F. The row (1, 1, 0, 0) becomes (1 + t, 1 − t, t, −t): tan θ = √2 t.
    """
    t, clean = 1e-3, make.matrix([[1, 1, 0, 0], [0, 0, 1, 1]])
    push = t * make.matrix([[1, 0], [-1, 0], [0, 1], [0, -1]])
    weights = make.eye(2) + torch.stack([push, torch.zeros_like(push)], 1)
    zero = torch.zeros(1, 2, 2, dtype=torch.float64)
    return _steady(weights[None], make.eye(1)[None], zero, clean[None], 0 * clean[None], 2)


def _attention_extremal() -> Sides:
    return make.every(_noise_alone(), _spread_alone())


def _softmax_spread(seed: int, count: int) -> Sides:
    """‖A − 11ᵀ/S‖ against e^{2λ} − 1 for softmax weights A of scores in [−λ, λ]."""
    (S,) = make.shape(seed, tokens=(1, 5))
    size = make.log_uniform(seed, "λ", -4, 0.5, count)
    scores = size[:, None, None] * make.uniform(seed, "scores", -1, 1, count, S, S).sign()
    return Sides(make.norm(torch.softmax(scores, -1) - 1 / S), torch.expm1(2 * size) * make.NEARLY)


def _varying(**forget: float) -> Sides:
    """Two points of a line, one of which looks at itself and the other at its neighbour."""
    own, shared = make.matrix([[0.9, 0.1], [0.1, 0.9]]), make.matrix([[0.5, 0.5], [0.5, 0.5]])
    weights = torch.stack([own, shared])
    zero = torch.zeros(1, 2, 2, dtype=torch.float64)
    clean = make.matrix([[1, 1], [0, 0]])
    Z = 0.01 * make.matrix([[1, -1], [0, 0]])
    steady = weights.mean(0).expand(2, 2, 2)
    chosen = steady if "noise" in forget else weights
    return _steady(chosen[None], make.eye(1)[None], zero, clean[None], Z[None], 1, **forget)


statement(
    "steady-attention",
    "Theorem 20.2",
    "Y = [T_1x_1 … T_nx_n], T_j = C + A_j ⊗ W: ‖P(X*) − P_r(Y)‖ ≤ e/(s_r(T̄X*) − e)",
    lambda seed, count: _softmax_spread(seed, count) if seed % 4 == 3 else _attention(seed, count),
    {
        "the spread of the weights counted": lambda: _varying(spread=0.0),
        "the noise counted": lambda: _varying(noise=0.0),
    },
    _attention_extremal,
)


def _two_lines(t: Tensor, beta: Tensor, fixed: bool = False) -> Sides:
    """The distance for t_i e₁, t_i e₂ against its closed form; 1 where it is zero although the t_i
    differ by a hundredth. t: (count, N), beta: (count, 1).
    """
    zero = torch.zeros_like(t)
    X = torch.stack([torch.cat([t, zero], -1), torch.cat([zero, t], -1)], -2)  # (count, 2, 2N)
    scores = beta[..., None, None] * X.mT[..., :, None] * X.mT[..., None, :]
    weights = torch.softmax(scores, -1)
    if fixed:
        weights = weights.mean(1, keepdim=True).expand_as(weights)
    one = torch.ones(len(t), 1, 1, dtype=t.dtype)
    Y = _mixed(weights, one, torch.zeros(len(t), 2, 2, dtype=t.dtype), X)
    distance = make.norm(row_projector(X, 2) - row_projector(Y, 2))
    g = torch.sigmoid(beta * t * t)
    sines = []
    for v in (t * (g + 0.5), t * (g - 0.5)):
        u = v / v.norm(dim=-1, keepdim=True)
        rest = t - (t * u).sum(-1, keepdim=True) * u
        sines.append(rest.norm(dim=-1) / t.norm(dim=-1))
    off = (distance - torch.stack(sines).amax(0)).abs()
    differ = t.amax(-1) > 1.01 * t.amin(-1)
    return make.rounding(torch.where(differ & (distance <= 1e-9), 1.0, off), 1e-8)


def _lines(seed: int, count: int) -> Sides:
    (N,) = make.shape(seed, N=(1, 6))
    t = make.log_uniform(seed, "t", -0.5, 0.5, count, N)
    if seed % 4 == 0:  # all equal: nothing moves
        t = t[:, :1].expand(-1, N)
    return _two_lines(t, make.log_uniform(seed, "beta", -1, 0.5, count, 1))


def _fixed_weights() -> Sides:
    """The same points with weights that no longer depend on them: nothing moves."""
    return _two_lines(make.matrix([[1, 3]]), make.matrix([[1]]), fixed=True)


statement(
    "attention-moves-clean-data",
    "Counterexample 20.1",
    "two lines under softmax attention: ‖P(X*) − P_2(Y)‖ = max(sin∠(p, t), sin∠(q, t))",
    _lines,
    {"weights that depend on the point": _fixed_weights},
    form="identity",
)

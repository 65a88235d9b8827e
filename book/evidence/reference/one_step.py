"""From clean data to a layer in one step: WX* times a scale in place of two links."""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import divide, layer_weights
from subspace_lib.certificate import Certificate
from subspace_lib.rowspace import (
    nth,
    rounding_allowance,
    rounding_unit,
    singular_value,
    singular_values,
    top_norm,
)

EPS = torch.finfo(torch.float64).eps
STEPS = 40  # of the golden-section search


def one_step_bound(
    clean: Tensor, W: Tensor, Y: Tensor, rank: int, scale: Tensor | float | None = None
) -> Certificate:
    """‖P(X*) − P(Y)‖ ≤ ‖Y − cWX*‖ / (c s_r(WX*) − s_{r+1}(Y)) for a scale c > 0.

    Every c with a positive gap gives a bound, because P(cWX*) = P(X*). ``scale=None`` searches for
    the best one, per instance; ½ is natural for ReLU. The search only chooses c, the bound is
    then evaluated afresh, so an unfinished search costs sharpness and never truth.
    clean: (..., m, n) of rank r exactly, W: (..., p, m), Y: (..., p, n) → (...). Raises
    ValueError for shapes that do not fit or scale ≤ 0.
    """
    S = check.matrix(clean, "clean")
    W, Y = layer_weights(S, W, Y)
    r = check.rank_within(rank, S, "clean")
    unit = rounding_unit(max(S.shape[-2:]), torch.finfo(S.dtype).eps)
    S, W = S.double(), W.double()
    A, Y = torch.broadcast_tensors(W @ S, Y.double())
    # what rounding leaves in the product WX*, which may be far smaller than its factors
    slack = unit * top_norm(W) * torch.linalg.matrix_norm(S)
    if scale is None:  # near c = 1 the search sees half of the digits, least squares all of them
        fit = (A * Y).sum((-2, -1)) / A.square().sum((-2, -1)).clamp(min=1e-300)
        one, other = (_one_step(A, Y, r, c, slack) for c in (_best_scale(A, Y, r), fit.abs() + EPS))
        better = one[2] <= other[2]
        parts = [torch.where(better, *pair) for pair in zip(one, other, strict=True)]
    else:
        c = torch.as_tensor(scale, dtype=A.dtype, device=A.device).expand(A.shape[:-2])
        if not (c > 0).all():
            raise ValueError(f"scale must be positive, got {float(c.min()):.3g}; None searches")
        parts = list(_one_step(A, Y, r, c, slack))
    gap, threshold, bound, *terms = parts
    names = ("c", "c s_r(WX*)", "s_{r+1}(Y)", "‖Y − cWX*‖")
    named = dict(zip(names, terms, strict=True))
    return Certificate("One step", "‖P(X*) − P(Y)‖", gap, threshold, bound, named)


def _one_step(A: Tensor, Y: Tensor, r: int, c: Tensor, slack: Tensor) -> tuple[Tensor, ...]:
    """Gap, threshold, bound, then the terms; ``slack`` is the error that A carries."""
    B = c[..., None, None] * A
    error, slack = top_norm(Y - B), rounding_allowance(B, Y) + c * slack
    weakest, rest = singular_value(B, r), singular_value(Y, r + 1)
    gap = weakest - rest
    bound = divide(error + slack, gap - 2 * slack)
    return gap, error + 3 * slack, bound, c, weakest, rest, error


def _best_scale(A: Tensor, Y: Tensor, r: int) -> Tensor:
    """Golden-section search over u = 1/c of ‖uY − A‖/(s_r(A) − u s_{r+1}(Y)).

    The quotient of a convex function and a positive affine one has convex sublevel sets, so the
    search finds the minimum. A quotient below 1 forces u < 2‖A‖/‖Y‖. Norms come from p×p Gram
    matrices: half of the digits, enough to choose c.
    """
    signal, values, tiny = singular_values(A), singular_values(Y), torch.finfo(A.dtype).tiny
    s, rest = nth(signal, r), nth(values, r + 1)
    high = 2 * signal[..., 0] / values[..., 0].clamp(min=tiny)
    high = torch.where(rest > 0, torch.minimum(high, s / rest.clamp(min=tiny)), high)
    squares = A @ A.mT, A @ Y.mT, Y @ Y.mT

    def quotient(u: Tensor) -> Tensor:
        v = u[..., None, None]
        gram = squares[0] - v * (squares[1] + squares[1].mT) + v**2 * squares[2]
        size = torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0).sqrt()
        return divide(size, s - u * rest)

    golden, low = (5**0.5 - 1) / 2, torch.zeros_like(high)
    for _ in range(STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        better = quotient(left) <= quotient(right)
        low, high = torch.where(better, low, left), torch.where(better, right, high)
    u = (low + high) / 2
    return torch.where(u > 0, 1 / u.clamp(min=tiny), torch.ones_like(u))

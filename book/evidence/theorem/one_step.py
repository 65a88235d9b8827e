"""From clean data to a layer in one step: WX* times a scale in place of two links."""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import layer_weights
from subspace_lib.certificate import Certificate
from subspace_lib.chain import divide, in_double
from subspace_lib.rowspace import (
    nth,
    outward,
    rounding_unit,
    shifted,
    singular_values,
    top_norm,
    unit_exponent,
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
    clean: (..., m, n), should have rank r; W: (..., p, m), Y: (..., p, n) → (...). What clean has
    beyond rank r, d = ‖W‖ s_{r+1}(X*), is paid for: c d is added to the error and taken from the
    gap, because the statement holds for the truncation X*_r, which has the same P. Raises
    ValueError for shapes that do not fit or scale ≤ 0.
    Rounding: as in ``subspace_lib.bounds``, with the allowance of the factors of W X* in d.
    """
    S = check.matrix(clean, "clean")
    W, Y = layer_weights(S, W, Y)
    r = check.rank_within(rank, S, "clean")
    (S, W, Y), eps = in_double(S, W, Y)
    unit = rounding_unit(max(*S.shape[-2:], *Y.shape[-2:]), eps)
    (S, x), (W, w), (Y, own) = (_in_unit(M) for M in (S, W, Y))
    A, product = _in_unit(W @ S)  # may be far smaller than its factors
    values = singular_values(S)
    spare = top_norm(W) * (nth(values, r + 1) + unit * values[..., 0])
    spare, to_user = shifted(spare, -product), own - (x + w + product)  # c: units of Y per WX*
    A, Y = torch.broadcast_tensors(A, Y)
    if scale is None:  # near c = 1 the search sees half of the digits, least squares all of them
        fit = (A * Y).sum((-2, -1)) / A.square().sum((-2, -1)).clamp(min=1e-300)
        tried = (_best_scale(A, Y, r), fit.abs() + EPS)
        one, other = (_one_step(A, Y, r, c, spare, unit) for c in tried)
        better = one[2] <= other[2]
        parts = [torch.where(better, *pair) for pair in zip(one, other, strict=True)]
    else:
        c = torch.as_tensor(scale, dtype=A.dtype, device=A.device).expand(A.shape[:-2])
        if not (c > 0).all():
            raise ValueError(f"scale must be positive, got {float(c.min()):.3g}; None searches")
        parts = list(_one_step(A, Y, r, shifted(c, -to_user), spare, unit))
    gap, threshold, bound, c, weakest, rest, error = parts
    named = {
        "c": shifted(c, to_user),
        "c s_r(WX*)": outward(weakest, own, False),
        "s_{r+1}(Y)": outward(rest, own, True),
        "‖Y − cWX*‖": outward(error, own, True),
    }
    gap, threshold = outward(gap, own, False), outward(threshold, own, True)
    return Certificate("One step", "‖P(X*) − P(Y)‖", gap, threshold, bound, named)


def _in_unit(A: Tensor) -> tuple[Tensor, Tensor]:
    """A in a unit in which its squares are harmless, and the exponent of that unit."""
    exponent = unit_exponent(A)
    return shifted(A, -exponent[..., None, None]), exponent


def _one_step(
    A: Tensor, Y: Tensor, r: int, c: Tensor, spare: Tensor, unit: float
) -> tuple[Tensor, ...]:
    """Gap, threshold, bound, then the terms; ``spare``: how far A may be from the WX*_r meant."""
    B, values = c[..., None, None] * A, singular_values(Y)
    response = singular_values(B)
    slack = unit * torch.maximum(response[..., 0], values[..., 0]) + c * spare
    error, weakest, rest = top_norm(Y - B), nth(response, r), nth(values, r + 1)
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

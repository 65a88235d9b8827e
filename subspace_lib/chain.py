"""The links of the paper's chain: one gap and one error each, and what rounding does to them.

A link A → B = A + E has the gap s_r(A) − s_{r+1}(B) and the error ‖E‖, both with an allowance
against the certificate; ``bounds`` makes the paper's statements from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_lib.certificate import INF
from subspace_lib.rowspace import (
    nth,
    outward,
    rounding_unit,
    shifted,
    singular_values,
    top_norm,
    unit_exponent,
)

Pair = tuple[Tensor, Tensor]


def divide(numerator: Tensor, gap: Tensor) -> Tensor:
    """numerator / gap where the gap is positive, ∞ elsewhere."""
    return torch.where(gap > 0, numerator / gap, INF)


def in_double(*matrices: Tensor) -> tuple[list[Tensor], float]:
    """The matrices in double precision, and the eps of the coarsest of them."""
    return [A.double() for A in matrices], max(torch.finfo(A.dtype).eps for A in matrices)


def link_terms(
    leading: Tensor, trailing: Tensor, error: Tensor, rank: int, unit: float, product: Tensor | None
) -> Pair:
    """One link A → B: its gap s_r(A) − s_{r+1}(B) less rounding, its error ‖B − A‖ plus rounding.

    leading, trailing: singular values of A and B (..., k), largest first. error: ‖B − A‖ (...).
    unit: the ``rounding_unit``. product: ‖W‖ ‖X‖ where they were multiplied out as W X, because a
    W that cancels leaves a small product with the rounding of the large one.
    """
    scale = torch.maximum(leading[..., 0], trailing[..., 0])
    slack = unit * (scale if product is None else torch.maximum(scale, product))
    return nth(leading, rank) - nth(trailing, rank + 1) - slack, error + slack


def link(
    A: Tensor, B: Tensor, E: Tensor, r: int, eps: float, product: Tensor | None = None
) -> Pair:
    """``link_terms`` of two matrices and their difference."""
    unit = rounding_unit(max(*A.shape[-2:], *B.shape[-2:]), eps)
    return link_terms(singular_values(A), singular_values(B), top_norm(E), r, unit, product)


@dataclass(frozen=True)
class Layer:
    """X* and Z in the unit 2^x, W in the unit 2^w: what the links of one layer are made from."""

    S: Tensor
    Z: Tensor
    W: Tensor
    x: Tensor
    w: Tensor
    r: int
    eps: float

    @property
    def X(self) -> Tensor:
        return self.S + self.Z

    def noise(self) -> Pair:
        """X* → X; Wedin's bound does not ask for the rank of X*."""
        gap, error = link(self.S, self.X, self.Z, self.r, self.eps)
        return outward(gap, self.x, False), outward(error, self.x, True)

    def mixing(self) -> Pair:
        """X* → WX through WX*, for X* of any rank.

        P(X*) = P(X*_r) = P(WX*_r) holds for the truncation X*_r only. In place of it stand
        s_r(WX*_r) ≥ s_r(WX*) − d and ‖W(X − X*_r)‖ ≤ ‖WZ‖ + d, with d = ‖W‖ s_{r+1}(X*).
        """
        W, S, X = self.W, self.S, self.X
        size, values, unit = top_norm(W), singular_values(S), self.x + self.w
        product = size * torch.maximum(values[..., 0], top_norm(X))
        gap, error = link(W @ S, W @ X, W @ self.Z, self.r, self.eps, product)
        rest = size * nth(values, self.r + 1)
        return outward(gap - rest, unit, False), outward(error + rest, unit, True)

    def bend(self, Y: Tensor) -> Pair:
        """WX → Y, in the larger of their units."""
        unit = torch.maximum(self.x + self.w, unit_exponent(Y))
        WX = shifted(self.W @ self.X, (self.x + self.w - unit)[..., None, None])
        Y = shifted(Y, -unit[..., None, None])
        product = shifted(top_norm(self.W) * top_norm(self.X), self.x + self.w - unit)
        gap, error = link(Y, WX, Y - WX, self.r, self.eps, product)
        return outward(gap, unit, False), outward(error, unit, True)


def layer_of(S: Tensor, Z: Tensor, W: Tensor, r: int, eps: float) -> Layer:
    """The layer, in units of its own.

    >>> W = torch.eye(30).double()
    >>> layer = sl.chain.layer_of(data.X, noisy.noise, W, 6, 2.2e-16)
    >>> gap, error = layer.mixing()
    >>> print(f"{gap:.2f} > {error:.3f}")
    0.49 > 0.016
    """
    x, w = unit_exponent(S, Z), unit_exponent(W)
    S, Z = (shifted(A, -x[..., None, None]) for A in (S, Z))
    return Layer(S, Z, shifted(W, -w[..., None, None]), x, w, r, eps)


def stacked(*links: Pair) -> Pair:
    """(gap, error) of each link → gaps and errors, each (links, ...)."""
    gaps, errors = (
        torch.stack(torch.broadcast_tensors(*side)) for side in zip(*links, strict=True)
    )
    return gaps, errors

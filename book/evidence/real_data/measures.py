"""How much of a projector lies between classes."""

from __future__ import annotations

from torch import Tensor


def cross_energy(V: Tensor, labels: Tensor) -> Tensor:
    """Share of Σ P_ij² in the pairs of different clusters; P = VᵀV. 0: P is block diagonal.

    V: (..., q, n), labels: (n,) 0 … K − 1. Returns (...). Costs q²n: P itself is never formed.
    """
    within = sum(
        (V[..., labels == k] @ V[..., labels == k].mT).square().sum((-2, -1))
        for k in range(int(labels.max()) + 1)
    )
    return 1 - within / (V @ V.mT).square().sum((-2, -1))

"""Sets of points that no partition into clusters can cut, although no single pair proves it."""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_lib.certify.entries import ENTRIES
from subspace_lib.rowspace import rounding_unit

NODES = 1500  # parts up to which their pencil is solved
SOLVED = 60  # pencils at most


def uncut(V: Tensor, length: Tensor, parts: Tensor, unit: float) -> list[Tensor]:
    """Sets of parts, each inside one cluster. V: (k, n) with Q = VᵀV, parts: (n,) labels.

    length: (n,) d_i ≥ ‖(P − Q)e_i‖, P = 0 across clusters, every part inside one cluster; unit:
    rounding in Q. With J′ the points of J in one cluster and J″ its others,

        Σ_{J′×J″} Q_ij² = Σ_{J′×J″} (Q − P)_ij² ≤ min(Σ_{J′} d_i², Σ_{J″} d_i²),

    so that the second eigenvalue of Lx = λDx is at most 2, L the Laplacian of the weights Q_ij²
    summed over pairs of parts, D that of d_i². Where it exceeds 2, J lies in one cluster. Any J may
    be tried: everything first, and what fails is cut where it hangs together least.
    """
    count = int(parts.max()) + 1
    if not 1 < count <= NODES:
        return []
    weights = _between(V, parts, count)
    size = weights.new_zeros(count).index_add_(0, parts, (length + 4 * unit) ** 2)
    size = size.clamp(min=float(size.max()) * 1e-9)  # a larger d is one as well
    found, waiting = [], [torch.arange(count, device=V.device)]
    for _ in range(SOLVED):
        J = _pruned(waiting.pop(), weights, size) if waiting else None
        if J is None:
            break
        if len(J) < 2:
            continue
        scale = size[J].rsqrt()
        W = weights[J][:, J] * scale * scale[:, None]
        L = torch.diag(weights[J][:, J].sum(1) / size[J]) - W
        values, vectors = torch.linalg.eigh((L + L.mT) / 2)
        if values[1] > 2 + 1e-9 + rounding_unit(len(J), torch.finfo(V.dtype).eps) * values[-1]:
            found.append(J)
            continue
        order = (vectors[:, 1] * scale).argsort()
        waiting += list(torch.tensor_split(J[order], [_weakest(weights, size, J[order])]))
    return found


def _between(V: Tensor, parts: Tensor, count: int) -> Tensor:
    """Σ Q_ij² over i in one part and j in another; zeros on the diagonal."""
    n = V.shape[-1]
    total = V.new_zeros(count, count)
    step = max(1, ENTRIES // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        squares = (V[:, rows].mT @ V).square_()
        to_parts = V.new_zeros(len(squares), count).index_add_(1, parts, squares)
        total.index_add_(0, parts[rows], to_parts)
    return ((total + total.mT) / 2).fill_diagonal_(0)


def _pruned(J: Tensor, weights: Tensor, size: Tensor) -> Tensor:
    """Without the parts that alone would make the second eigenvalue too small."""
    while len(J) > 1:
        held = weights[J][:, J].sum(1) > size[J]
        if held.all():
            break
        J = J[held]
    return J


def _weakest(weights: Tensor, size: Tensor, J: Tensor) -> int:
    """Where to cut the ordered parts J: smallest Σ weights across, relative to the smaller side."""
    W = weights[J][:, J]
    volume = size[J].cumsum(0)
    inner = W.cumsum(0).cumsum(1).diagonal()
    across = W.sum(1).cumsum(0) - inner
    smaller = torch.minimum(volume, volume[-1] - volume)[:-1]
    return 1 + int((across[:-1] / smaller).argmin())

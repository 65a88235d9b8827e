"""A search for inputs that fool a certificate, judged in 80-digit arithmetic.

Small matrices whose trouble is known: a signal that is nearly, not exactly, of its rank, a layer
that damps it, noise from 1e-17 to 1, rows of very different size, units from 1e-300 to 1e300,
numbers rounded to single precision. From such a start it changes one matrix at a time and keeps
what brings the truth nearer to the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import torch
from torch import Tensor

DIGITS = 80
F64 = torch.float64
Case = dict[str, Tensor]
# A claim: the sides that must satisfy left ≤ right, left in many digits.
Claims = Callable[[Case], Iterator[tuple[Any, float]]]


def exact(A: Tensor) -> Any:
    """The very numbers in A."""
    return mpmath.matrix(A.tolist())


def leading(A: Any, rank: int) -> Any:
    """Orthonormal columns that span the ``rank`` leading right singular directions of A."""
    top = max(abs(x) for x in A) or mpmath.mpf(1)
    A = A / top
    values, vectors = mpmath.eigsy(A.T * A)
    order = sorted(range(len(values)), key=lambda i: -values[i])[:rank]
    return mpmath.matrix([[vectors[i, j] for j in order] for i in range(A.cols)])


def rows(R: Tensor) -> Any:
    """Orthonormal columns that span the rows of R."""
    return mpmath.qr(exact(R).T, mode="skinny")[0]


def norms(A: Any) -> tuple[Any, Any]:
    """Spectral and Frobenius."""
    values = [max(v, 0) for v in mpmath.eigsy(A.T * A, eigvals_only=True)]
    return mpmath.sqrt(max(values)), mpmath.sqrt(sum(values))


def sines(V: Any, U: Any) -> tuple[Any, Any]:
    """Norms of the sines of the angles from the columns of V into those of U."""
    return norms(V - U * (U.T * V))


def start(g: torch.Generator) -> Case:
    """S, Z (3, 4), W, Y (3, ·) of signal rank 2 or 1 (``r``), R orthonormal rows."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=F64)

    def size(low: float, high: float) -> float:
        return float(10 ** (low + (high - low) * torch.rand((), generator=g, dtype=F64)))

    def chance(p: float) -> bool:
        return bool(torch.rand((), generator=g) < p)

    r = 1 + chance(0.5)
    left, right = (torch.linalg.qr(normal(n, n)).Q for n in (3, 4))
    strength = torch.tensor([1.0, size(-3, 0)], dtype=F64)[:r]
    S = left[:, :r] * strength @ right[:r]
    S = S + (size(-17, -2) if chance(0.7) else 0.0) * normal(3, 4)
    W, u = normal(3, 3), left[:, r - 1 : r]
    W = W - (1 - size(-9, 0)) * (W @ u) @ u.mT
    Z = size(-17, -1) * normal(3, 4)
    Y = W @ (S + Z)
    Y = Y + size(-17, -1) * Y.abs()
    case = {"S": S, "Z": Z, "W": W, "Y": Y, "R": right[:r].clone(), "r": torch.tensor(r)}
    if chance(0.2):
        case = {name: rounded(A) for name, A in case.items()}
    if chance(0.3):
        a, b = (2.0 ** int(torch.randint(-500, 500, (), generator=g)) for _ in range(2))
        case |= {"S": a * case["S"], "Z": a * case["Z"], "W": b * case["W"]}
        case["Y"] = case["W"] @ (case["S"] + case["Z"])
    return case


def rounded(A: Tensor) -> Tensor:
    return A.float().double() if A.is_floating_point() else A


def moved(case: Case, g: torch.Generator) -> Case:
    """One matrix changed, a little or a lot."""
    name = "SZWYR"[int(torch.randint(5, (), generator=g))]
    A, size = case[name], 10 ** float(-16 * torch.rand((), generator=g, dtype=F64))
    scale = A.abs().amax() if torch.rand((), generator=g) < 0.5 else A.abs()
    new = A + size * scale * torch.randn(A.shape, generator=g, dtype=F64)
    return {**case, name: torch.linalg.qr(new.mT).Q.mT if name == "R" else new}


def hunt(claims: Claims, seed: int, steps: int) -> tuple[float, int]:
    """(largest left/right found, number of claims tried); AssertionError for a false one."""
    g, tried, best = torch.Generator().manual_seed(seed), 0, -1.0
    case: Case = {}
    for _ in range(steps):
        new = moved(case, g) if best >= 0 else start(g)
        ratio = -1.0
        with mpmath.workdps(DIGITS):
            for left, right in claims(new):
                if not math.isfinite(right):
                    continue
                tried += 1
                assert left <= right, f"{left} > {right} for {new}"
                ratio = max(ratio, float(left / right) if right else 0.0)
        if ratio >= best:
            case, best = new, ratio
    return best, tried

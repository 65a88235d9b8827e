"""The row space of a matrix: factored once, asked often.

A = U diag(s) V, and every gap, distance and bound is taken from s and V. Spaces are given by
orthonormal rows V (k, n), the projector VᵀV is never formed; zero rows stand for missing
dimensions. Leading axes are batch.

Gram matrices lose half of the digits of small singular values and none of the largest one, so they
serve for norms, and for a factorisation only where it is asked for, the first q + 1 values exceed
GRAM_FLOOR · s_1 (three of sixteen digits lost at most) and no other can be taken for zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

INF = math.inf
NORMS = ("max", "spectral", "fro")
GRAM_FLOOR, GRAM_ZERO = 1e-3, 1e-6
TILE = 100  # rows of P − Q at a time: what fits the cache is several times faster
ENTRIES = 1 << 22  # of P − Q at a time, over a batch: 32 MB in float64
DIRECT = 4096  # points up to which looking at all of P − Q is faster than ruling parts of it out
WIDE_TILE = 1024  # beyond: 8 MB in float64, whatever n is


def rounding_unit(size: int, eps: float) -> float:
    """10 · max(m, n) · eps: what rounding may leave in a singular value, relative to the largest.

    An allowance for the backward error of a product and of a singular value decomposition, by
    experience: LAPACK proves a modest multiple of eps without a number, and this one is tested
    against 60-digit arithmetic. eps is that of the arithmetic, or of the numbers as they came in
    where that is coarser: converting a float32 matrix does not make it more accurate.
    """
    return 10 * size * eps


def rank_of(s: Tensor, size: int, eps: float) -> Tensor:
    """Number of singular values above rounding, (...)."""
    return (s > size * eps * s[..., :1]).sum(-1)


@dataclass(frozen=True)
class RowSpace:
    """Singular values s (..., j), largest first, and right singular vectors V (..., q, n) as rows.

    Rows beyond the numerical rank are zero, so that VᵀV is the projector on what is there. size:
    max(p, n) of A (p, n); eps: of the precision in which A came.
    """

    s: Tensor
    V: Tensor
    size: int
    eps: float

    def value(self, index: int) -> Tensor:
        """s_index, counted from 1; 0 beyond the last."""
        return nth(self.s, index)

    @property
    def rank(self) -> Tensor:
        return rank_of(self.s, self.size, self.eps)

    @property
    def unit(self) -> float:
        return rounding_unit(self.size, self.eps)

    def part(self, chosen: Tensor) -> RowSpace:
        """Some trials; a space without its own trial axis (length 1) is shared."""
        if len(self.s) == 1:
            return self
        return replace(self, s=self.s[chosen], V=self.V[chosen])


def factor(A: Tensor, q: int, *, gram: bool = False, eps: float | None = None) -> RowSpace:
    """All singular values of A (..., p, n) and its q leading right singular vectors.

    gram allows AᵀA for p ≥ n; otherwise A itself is decomposed, or its triangular factor, which is
    as accurate. eps: of the precision of A, where it was converted.

    >>> space = sl.rowspace.factor(noisy.X, 6)
    >>> print(f"{space.value(6):.3f} {space.value(7):.3f}")
    0.500 0.015
    """
    p, n = A.shape[-2:]
    found = _from_gram(A, q) if gram and p >= n else None
    if n > 2 * p:  # Aᵀ = QT, so A = TᵀQᵀ and the small matrix Tᵀ has the singular values
        Q, T = torch.linalg.qr(A.mT)
        _, s, Vh = torch.linalg.svd(T.mT)
        V = Vh[..., :q, :] @ Q.mT
    elif found is None:
        T = torch.linalg.qr(A, mode="r").R if p > n else A
        _, s, Vh = torch.linalg.svd(T, full_matrices=False)
        V = Vh[..., :q, :]
    else:
        s, V = found
    eps = torch.finfo(A.dtype).eps if eps is None else eps
    V = V * (s[..., :q] > max(p, n) * eps * s[..., :1])[..., None]
    return RowSpace(s, torch.nn.functional.pad(V, (0, 0, 0, q - V.shape[-2])), max(p, n), eps)


def _from_gram(A: Tensor, q: int) -> tuple[Tensor, Tensor] | None:
    """None where a value that is used would lose its digits, or the rank would be uncertain."""
    A, scale = balanced(A)
    squares, vectors = torch.linalg.eigh(A.mT @ A)
    s = squares.clamp(min=0).sqrt().flip(-1)
    used, least = s[..., min(q, s.shape[-1] - 1)] / GRAM_FLOOR, s[..., -1] / GRAM_ZERO
    if not (torch.minimum(used, least) > s[..., 0]).all():
        return None
    return s * scale[..., None], vectors.flip(-1).mT[..., :q, :]


def balanced(A: Tensor) -> tuple[Tensor, Tensor]:
    """A in a unit in which sums of squares neither over- nor underflow, and that unit.

    The power of two above the largest entry, so that nothing is rounded; 1 where the entries of
    the whole batch are harmless (between 1e-76 and 1e76 in float64). A: (..., m, n) → unit (...).
    """
    exponent = unit_exponent(A)
    if not exponent.any():
        return A, torch.ones_like(exponent)
    return shifted(A, -exponent[..., None, None]), torch.ldexp(torch.ones_like(exponent), exponent)


def unit_exponent(*matrices: Tensor) -> Tensor:
    """The exponent of the unit of ``balanced``, one for several matrices (..., ·, n) together."""
    tops = [torch.linalg.vector_norm(A, math.inf, dim=(-2, -1)) for A in matrices]
    top = torch.stack(torch.broadcast_tensors(*tops)).amax(0)
    exponent = torch.frexp(top).exponent.to(top.dtype)  # torch 2.2: 2 to an integer is float32
    limit = math.frexp(torch.finfo(top.dtype).max)[1] - 2  # the unit and its inverse are numbers
    exponent = exponent.clamp(-limit, limit)
    harmless = bool((exponent.abs() <= limit // 4).all())
    return torch.zeros_like(exponent) if harmless else exponent


def shifted(values: Tensor, exponent: Tensor) -> Tensor:
    """values · 2^exponent in two steps, because 2^exponent itself may not be a number."""
    half, one = torch.trunc(exponent / 2), torch.ones_like(exponent)
    return values * torch.ldexp(one, half) * torch.ldexp(one, exponent - half)


def outward(values: Tensor, exponent: Tensor, up: bool) -> Tensor:
    """``shifted``, rounded away from the claim where it rounds: errors up, gaps down."""
    if not exponent.any():
        return values
    found = shifted(values, exponent)
    exact = shifted(found, -exponent) == values
    return torch.where(exact, found, found.nextafter(torch.full_like(found, INF if up else -INF)))


def nth(values: Tensor, index: int) -> Tensor:
    """The index-th of falling values (..., j), counted from 1; 0 beyond them."""
    inside = index <= values.shape[-1]
    return values[..., index - 1] if inside else torch.zeros_like(values[..., 0])


def singular_values(A: Tensor) -> Tensor:
    """All of them, largest first. A: (..., p, n) → (..., min(p, n))."""
    return torch.linalg.svdvals(A.mT if A.shape[-2] < A.shape[-1] else A)  # tall is faster


def singular_value(A: Tensor, index: int) -> Tensor:
    """s_index(A), counted from 1, with s_j := 0 beyond min(m, n). A: (..., m, n) → (...)."""
    return nth(singular_values(A), index)


def top_norm(A: Tensor) -> Tensor:
    """‖A‖ from the smaller Gram matrix, relatively accurate. A: (..., p, n) → (...)."""
    A, scale = balanced(A)
    G = A @ A.mT if A.shape[-2] <= A.shape[-1] else A.mT @ A
    return torch.linalg.eigvalsh(G)[..., -1].clamp(min=0).sqrt() * scale


def rounding_allowance(*matrices: Tensor, eps: float = 0.0) -> Tensor:
    """Absolute error that floating point may leave in a singular value or a norm.

    ``rounding_unit`` · the largest spectral norm involved; eps: of coarser numbers they came from.
    """
    scale = torch.stack(torch.broadcast_tensors(*map(top_norm, matrices))).amax(0)
    size = max(max(A.shape[-2:]) for A in matrices)
    return rounding_unit(size, max(eps, *(torch.finfo(A.dtype).eps for A in matrices))) * scale


def outside(V: Tensor, U: Tensor) -> Tensor:
    """V(I − UᵀU), what lies outside U's rows; the second pass removes what rounding left inside."""
    rest = V - (V @ U.mT) @ U
    return rest - (rest @ U.mT) @ U


def sines(V: Tensor, U: Tensor) -> Tensor:
    """Sines of the angles from V's row space into U's, largest first, (..., k).

    The singular values of ``outside``; the arccos of a cosine cannot see angles below 1e-8.
    """
    return singular_values(outside(V, U)).clamp(max=1)


def largest_sine(V: Tensor, U: Tensor) -> Tensor:
    """Sine of the largest angle from V's row space into U's, (...)."""
    return top_norm(outside(V, U)).clamp(max=1)


def distances(V: Tensor, U: Tensor, norms: Sequence[str] = NORMS) -> dict[str, Tensor]:
    """‖VᵀV − UᵀU‖ in these norms, (...) each. V: (..., k, n), U: (..., l, n)."""
    found = {"max": largest_entry(V, U)} if "max" in norms else {}
    if not {"spectral", "fro"} & set(norms):
        return found
    ranks = [W.square().sum((-2, -1)).round() for W in (V, U)]
    rest = outside(V, U)
    if "spectral" in norms:
        found["spectral"] = torch.where(ranks[0] == ranks[1], top_norm(rest).clamp(max=1), 1.0)
    if "fro" in norms:
        # ‖P − Q‖_F² = rank P + rank Q − 2 tr PQ; ‖(I − Q)P‖_F² = rank P − tr PQ cancels nothing
        square = 2 * rest.square().sum((-2, -1)) + (ranks[1] - ranks[0])
        found["fro"] = torch.minimum(square.clamp(min=0), ranks[0] + ranks[1]).sqrt()
    return found


def distance(V: Tensor, U: Tensor, norm: str) -> Tensor:
    """One of the ``distances``."""
    return distances(V, U, (norm,))[norm]


def largest_entry(V: Tensor, U: Tensor) -> Tensor:
    """max |VᵀV − UᵀU| without an n×n matrix. V: (..., k, n), U: (..., l, n) → (...)."""
    shape = torch.broadcast_shapes(V.shape[:-2], U.shape[:-2])
    V, U = (A.expand(*shape, *A.shape[-2:]) for A in (V, U))
    n = V.shape[-1]
    if n > DIRECT:
        pairs = zip(V.reshape(-1, *V.shape[-2:]), U.reshape(-1, *U.shape[-2:]), strict=True)
        return torch.stack([_largest_entry_of_many(*pair) for pair in pairs]).reshape(shape)
    left, right = torch.cat([V, U], -2).mT.contiguous(), torch.cat([V, -U], -2)
    tile = min(TILE, max(1, ENTRIES // (n * max(1, shape.numel()))))
    tiles = [  # the difference is symmetric, so its upper triangle is enough
        (left[..., i : i + tile, :] @ right[..., i:]).abs_().amax((-2, -1))
        for i in range(0, n, tile)
    ]
    return torch.stack(tiles).amax(0)


def _largest_entry_of_many(V: Tensor, U: Tensor) -> Tensor:
    """One pair at a time; most tiles are ruled out unseen.

    VᵀV − UᵀU = X diag(d) Xᵀ with at most k + l columns in X, so |entry ij| ≤ a_i a_j,
    a_i² = Σ_l |d_l| X_il². Points in falling order of a, starting from the best diagonal entry.
    """
    signs = torch.cat([torch.ones_like(V[:, 0]), -torch.ones_like(U[:, 0])])
    basis, T = torch.linalg.qr(torch.cat([V, U]).mT)
    d, W = torch.linalg.eigh((T * signs) @ T.mT)
    X = basis @ W
    a, order = (X.square() @ d.abs()).sqrt().sort(descending=True)
    X = X[order]
    best = (X.square() @ d).abs().max()
    for i in range(0, len(X), WIDE_TILE):
        for j in range(i, len(X), WIDE_TILE):
            if a[i] * a[j] <= best:
                break
            tile = (X[i : i + WIDE_TILE] * d) @ X[j : j + WIDE_TILE].mT
            best = torch.maximum(best, tile.abs_().max())
    return best

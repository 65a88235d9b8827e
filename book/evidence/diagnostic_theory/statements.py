"""Chapter 25, Chance and sketches."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from evidence import instances as make
from evidence.diagnostic.statements import worst
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_projector
from subspace_lib.rowspace import singular_value


def _trace(P: Tensor, Q: Tensor) -> Tensor:
    return (P * Q).sum((-2, -1))


def _after_shuffling(P: Tensor, Q: Tensor) -> Tensor:
    """ab + (k − a)(q − b)/(n − 1)."""
    n = P.shape[-1]
    a, b = (A.sum((-2, -1)) / n for A in (P, Q))
    k, q = (A.diagonal(dim1=-2, dim2=-1).sum(-1) for A in (P, Q))
    return a * b + (k - a) * (q - b) / (n - 1)


def _orders(Q: Tensor, orders: list[tuple[int, ...]]) -> Tensor:
    """ΠQΠᵀ for each order: (orders, ..., n, n)."""
    return torch.stack([Q[..., list(o), :][..., list(o)] for o in orders])


def _turned(Q: Tensor) -> Tensor:
    """GQGᵀ for all signs and cyclic shifts G: (2ⁿ·n, ..., n, n)."""
    n = Q.shape[-1]
    signs = torch.cartesian_prod(*[make.vector(-1.0, 1.0)] * n).reshape(-1, n)
    shifts = [tuple((i + j) % n for i in range(n)) for j in range(n)]
    return torch.stack([s[:, None] * A * s for A in _orders(Q, shifts) for s in signs])


def _chance(P: Tensor, Q: Tensor, rotated: Tensor, orders: list[tuple[int, ...]]) -> Sides:
    """Means over ``rotated`` and over orders, against the two formulas.

    A uniform rotation O and OG have one distribution for every signed permutation G: the mean over
    a group of G is what the expectation is, for each O. That of GQGᵀ over signs and shifts is
    (q/n)I, since signs leave the diagonal and shifts its mean.
    """
    n = P.shape[-1]
    k, q = (A.diagonal(dim1=-2, dim2=-1).sum(-1) for A in (P, Q))
    off = (_trace(P, rotated).mean(0) / k - q / n).abs()
    shuffled = _trace(P, _orders(Q, orders)).mean(0)
    exact = torch.zeros_like(off)
    return worst((off, exact), ((shuffled - _after_shuffling(P, Q)).abs(), exact))


def _chances(seed: int, count: int) -> Sides:
    """Every second instance has the constant vector near its row spaces, as ReLU layers do."""
    (n,) = make.shape(seed, n=(2, 5))
    k, q = make.shape(seed, k=(1, n), q=(1, n))
    A, B = make.gaussian(seed, "A", count, k, n), make.gaussian(seed, "B", count, q, n)
    if seed % 2:
        A, B = A + 2, B + 2
    P, Q = row_projector(A, k), row_projector(B, q)
    O = make.orthonormal(seed, "O", count, n, n)  # noqa: E741
    return _chance(P, Q, O @ _turned(Q) @ O.mT, list(itertools.permutations(range(n))))


def _only_orders() -> Sides:
    """Orders are no rotations at random: the constant vector stays where it is."""
    P = torch.full((1, 6, 6), 1 / 6, dtype=torch.float64)
    orders = list(itertools.permutations(range(6)))
    return _chance(P, P, _orders(P, orders), orders)


def _only_cycles() -> Sides:
    """Cyclic shifts leave the span of (1, −1, 1, −1) alone."""
    v = make.matrix([[1, -1, 1, -1]]) / 2
    P = (v.mT @ v)[None]
    return _chance(P, P, _turned(P), [(0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2)])


statement(
    "chance",
    "Proposition 25.1",
    "E tr(P OQOᵀ) = kq/n over rotations, ab + (k − a)(q − b)/(n − 1) over orders",
    _chances,
    {"all rotations": _only_orders, "all orders": _only_cycles},
    form="identity",
)


def _sketch(Y: Tensor, S: Tensor, k: int, own_gap: bool = False) -> Sides:
    """‖P_k(Y) − P_k(YΠ)‖ against ‖U₁ᵀE‖/δ, the latter from YYᵀ and Z = SY alone."""
    Z, G = S @ Y, Y @ Y.mT
    A, d, Vh = torch.linalg.svd(Z, full_matrices=False)
    rank = int(make.count_rank(Z).min())
    A, d, Vh = A[..., :rank], d[..., :rank], Vh[..., :rank, :]
    M = (G @ S.mT @ A) / d[..., None, :]
    U, inside, _ = torch.linalg.svd(M, full_matrices=False)
    U = U[..., :k]
    rest = singular_value(M if own_gap else Y, k + 1)
    usable = inside[..., k - 1] - rest > 1e-6
    outside = make.norm(U.mT @ (G - M @ M.mT) @ U).clamp(min=0)
    E = make.outside(Y, Vh)
    bound = outside.sqrt() / (inside[..., k - 1] - rest)
    distance = make.norm(row_projector(Y, k) - row_projector(Y - E, k))
    agree = (outside - make.norm(U.mT @ E).square()).abs() / make.norm(G)
    if rank == int(make.count_rank(Y).max()):  # nothing is missed
        agree = torch.maximum(agree, make.norm(E) / make.norm(Y))
    return worst(
        (distance[usable], bound[usable] + 1e-6), (agree[usable], torch.zeros_like(agree)[usable])
    )


def _sketches(seed: int, count: int) -> Sides:
    """Falling spectra, sketches that miss part of Y; where S has p rows they miss nothing."""
    p, more, k = make.shape(seed, p=(2, 6), more=(1, 5), k=(1, 2))
    (size,) = make.shape(seed, size=(k, p))
    fall = make.uniform(seed, "fall", 0.1, 0.6, count, 1) ** torch.arange(p)
    Y = make.with_spectrum(seed, "Y", p, p + more, fall)
    S = make.orthonormal(seed, "S", count, p, size).mT
    return _sketch(Y, S, k)


def _sketch_extremal() -> Sides:
    """Y = (1, x), seen through its first column only: tangent x for sine x."""
    x = 0.05
    Y = make.matrix([[1, x], [0, 0]])
    return _known_space(Y, make.matrix([[1, 0]]), 1)


def _known_space(Y: Tensor, V: Tensor, k: int) -> Sides:
    """The bound for any Π = VᵀV: the proof asks nothing else of it."""
    B = (Y @ V.mT) @ V
    U, inside, _ = torch.linalg.svd(B)
    bound = make.norm(U[:, :k].mT @ (Y - B)) / (inside[k - 1] - singular_value(Y, k + 1))
    return make.one(make.norm(row_projector(Y, k) - row_projector(B, k)), bound)


def _gap_of_the_sketch() -> Sides:
    """Y = diag(1, 2) seen through S = (1, 0): the sketch has a gap and misses what leads."""
    return _sketch(make.matrix([[1, 0], [0, 2]])[None], make.matrix([[1, 0]])[None], 1, True)


statement(
    "sketch",
    "Theorem 25.2",
    "Π a projector, as onto row(SY): ‖P_k(Y) − P_k(YΠ)‖ ≤ ‖U₁ᵀY(I − Π)‖/(s_k(YΠ) − s_{k+1}(Y))",
    _sketches,
    {"the gap to Y's own spectrum": _gap_of_the_sketch},
    _sketch_extremal,
)

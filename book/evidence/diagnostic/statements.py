"""Chapter 22, The diagnostic on your own model."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.rowspace import singular_value


def _worst(*sides: tuple[Tensor, Tensor]) -> Sides:
    """Several conclusions about one instance as the largest left/right, against 1."""
    return make.ratios(*(left / (right + ROUNDING) for left, right in sides))


def _rows(seed: int, purpose: str, count: int, k: int, n: int) -> Tensor:
    return make.orthonormal(seed, purpose, count, n, k).mT


def _reading(R: Tensor, V: Tensor, D: Tensor, larger: Tensor) -> Sides:
    """Least squares, mean against maximum, and what a linear layer cannot add."""
    k, share = R.shape[-2], make.share(R, V)
    best, gamma = make.square(make.outside(R, V)), make.norm(make.outside(R, V)).square()
    return _worst(
        ((best - k * (1 - share)).abs(), torch.zeros_like(share)),  # attained at D = RVᵀ
        (k * (1 - share), make.square(R - D @ V)),
        (gamma, k * (1 - share)),
        (1 - share, gamma),
        (share, larger),
    )


def _sizes(seed: int) -> tuple[int, int, int, int, int]:
    p, more, k, h = make.shape(seed, p=(1, 4), more=(1, 4), k=(1, 3), h=(1, 4))
    n = max(p, k) + more
    (q,) = make.shape(seed, q=(1, min(p, h)))
    return p, n, k, h, q


def _readings(seed: int, count: int, activation: bool = False) -> Sides:
    """R against the leading q rows of Z = WY; Y itself close to R in some instances."""
    p, n, k, h, q = _sizes(seed)
    R = _rows(seed, "R", count, k, n)
    near = make.log_uniform(seed, "near", -3, 1, count, 1, 1)
    Y = make.gaussian(seed, "M", count, p, k) @ R + near * make.gaussian(seed, "Y", count, p, n)
    Z = make.gaussian(seed, "W", count, h, p) @ Y
    V = row_basis(torch.relu(Z) if activation else Z, q)
    D = R @ V.mT + near * make.gaussian(seed, "D", count, k, q)
    return _reading(R, V, D, make.share(R, row_basis(Y, p)))


def _equal_sines() -> Sides:
    """Of k = 2 sines both are .8, and 1 − share = γ²; or one is 0, and 1 − share = γ²/2."""
    V, found = make.eye(4)[:2], []
    for turned in ((0.8, 0.8), (0.8, 0.0)):
        sine = make.vector(*turned)
        R = torch.cat([torch.diag((1 - sine.square()).sqrt()), torch.diag(sine)], 1)
        missed, gamma = 1 - make.share(R, V), make.norm(make.outside(R, V)).square()
        both_ends = (missed, gamma) if turned[1] else (gamma / 2, missed)
        found += [
            make.one(*both_ends),
            _reading(R[None], V[None], (R @ V.mT)[None], make.vector(1)),
        ]
    return make.every(*found)


def _long_rows() -> Sides:
    """R = (2, 0) is no orthonormal row: its part outside V = (0, 1) is 4, not 1."""
    R, V = make.matrix([[2, 0]]), make.matrix([[0, 1]])
    return _reading(R[None], V[None], (R @ V.mT)[None], make.vector(1))


def _activated() -> Sides:
    """Y = (1, −1) holds nothing of R = (1, 1)/√2, relu(Y) = (1, 0) half of it."""
    R, Y = make.matrix([[1, 1]]) / 2**0.5, make.matrix([[1, -1]])
    V = row_basis(torch.relu(Y), 1)
    return _reading(R[None], V[None], (R @ V.mT)[None], make.share(R, row_basis(Y, 1))[None])


statement(
    "share-says",
    "Proposition 22.1",
    "min_D ‖R − DV‖_F² = k(1 − share), γ²/k ≤ 1 − share ≤ γ², share(WY) ≤ share(Y)",
    _readings,
    {"orthonormal rows": _long_rows, "a linear layer": _activated},
    _equal_sines,
)


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
    return _worst((off, exact), ((shuffled - _after_shuffling(P, Q)).abs(), exact))


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
    "Proposition 22.2",
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
    return _worst(
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
    "Theorem 22.3",
    "Π a projector, as onto row(SY): ‖P_k(Y) − P_k(YΠ)‖ ≤ ‖U₁ᵀY(I − Π)‖/(s_k(YΠ) − s_{k+1}(Y))",
    _sketches,
    {"the gap to Y's own spectrum": _gap_of_the_sketch},
    _sketch_extremal,
)

"""Chapter 16, Reconstruct or classify?"""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.rowspace import singular_value

DRAWS = 200  # matrices averaged in one instance of Proposition 16.1


def _expected_share(C: Tensor) -> Sides:
    """Mean share of the constant vector in row(C) over the draws, C: (count, DRAWS, r, n)."""
    r, n = C.shape[-2:]
    sums = C.sum(-1, keepdim=True)
    share = (sums.mT @ torch.linalg.solve(C @ C.mT, sums))[..., 0, 0] / n
    off = (share.mean(-1) - r / n).abs()
    return make.rounding(off, make.luck(C.shape[1]))


def _gaussian_share(seed: int, count: int) -> Sides:
    r, more = make.shape(seed, r=(1, 4), more=(1, 6))
    return _expected_share(make.gaussian(seed, "C", count, DRAWS, r, r + more))


def _positive_share() -> Sides:
    """Coefficients of one sign point along the constant vector."""
    return _expected_share(make.gaussian(0, "C", 3, DRAWS, 1, 8).abs())


statement(
    "labels-outside-signal",
    "Proposition 16.1",
    "Gaussian coefficients: E‖P(X*)1_k‖²/n_k = r_k/n_k",
    _gaussian_share,
    {"directions without preference": _positive_share},
    loose="an expectation, tested by a mean that deviates by chance",
)


def _linear(seed: int, count: int, relu: bool = False) -> Sides:
    """‖D W X − L‖_F² against ‖L(I − P_row(X))‖_F² from below; the minimum attains it."""
    m, p, K = make.shape(seed, m=(1, 5), p=(1, 5), K=(1, 3))
    counts = make.sizes(seed, "n", K, 2, 5)
    L = make.indicators(counts)
    n = sum(counts)
    X = make.gaussian(seed, "X", count, m, n)
    least = make.square(make.outside(L, row_basis(X, min(m, n))))
    A = make.gaussian(seed, "W", count, p, m) @ X
    D = L @ torch.linalg.pinv(torch.relu(A) if relu else A)  # the best readout of this layer
    reached = make.square(D @ (torch.relu(A) if relu else A) - L)
    attained = make.square(L @ torch.linalg.pinv(X) @ X - L)
    left = torch.maximum(least, attained - reached + least)  # attained = least
    return Sides(left, reached + ROUNDING)


def _linear_extremal() -> Sides:
    """X = (1, 0), two classes of one point: the second indicator is missed altogether."""
    L = make.indicators([1, 1])
    X = make.matrix([[1, 0]])
    D = L @ torch.linalg.pinv(X)
    return make.one(make.square(make.outside(L, row_basis(X, 1))), make.square(D @ X - L))


def _with_relu() -> Sides:
    """X = (1, −1): relu of ±X holds both indicators, row(X) holds half of each."""
    L, X = make.indicators([1, 1]), make.matrix([[1, -1]])
    Y = torch.relu(torch.cat([X, -X]))
    least = make.square(make.outside(L, row_basis(X, 1)))
    return make.one(least, make.square(L @ torch.linalg.pinv(Y) @ Y - L) + ROUNDING)


statement(
    "linear-classifier",
    "Theorem 16.2",
    "linear layers: ‖DWX − L‖_F² ≥ ‖L(I − P_row(X))‖_F², the minimum over D and W",
    _linear,
    {"linear activation": _with_relu},
    _linear_extremal,
)


def _right(D: Tensor, b: Tensor, X: Tensor, labels: Tensor, relu: bool = False) -> Tensor:
    """Share of the points whose own class has strictly the largest logit."""
    Z = (torch.relu(D @ X) if relu else D @ X) + b[..., None]
    own = Z.gather(-2, labels.expand(Z.shape[0], 1, -1))
    others = Z.masked_fill(torch.nn.functional.one_hot(labels).mT.bool(), -torch.inf)
    return (own[:, 0] > others.amax(-2)).double().mean(-1)


def _opposite(seed: int, count: int) -> Sides:
    """Every class: equally many pairs ±x."""
    K, m, half = make.shape(seed, K=(2, 4), m=(1, 5), half=(1, 5))
    A = make.gaussian(seed, "x", count, m, K * half)
    labels = torch.arange(K).repeat_interleave(half).repeat(2)
    D, b = make.gaussian(seed, "D", count, K, m), make.gaussian(seed, "b", count, K)
    right = _right(D, b, torch.cat([A, -A], -1), labels)
    return Sides(right, torch.full_like(right, (K + 1) / (2 * K) + ROUNDING))


PLANE = make.matrix([[1, 0, -1, 0], [0, 1, 0, -1]])  # two classes, one axis each: x, y, −x, −y
AXES = torch.tensor([0, 1, 0, 1])


def _opposite_extremal() -> Sides:
    """Class 1 for both of its points, class 2 for one: D = diag(0, 1), b = (½, 0)."""
    D, b = make.matrix([[0, 0], [0, 1]]), make.vector(0.5, 0.0)
    return Sides(_right(D[None], b[None], PLANE, AXES), make.vector(0.75))


def _opposite_nonlinear() -> Sides:
    """|·| in the logits reads the axis off."""
    right = _right(make.eye(2)[None], torch.zeros(1, 2).double(), PLANE.abs(), AXES)
    return Sides(right, make.vector(0.75))


def _one_sided() -> Sides:
    """One point of each pair only."""
    zero = torch.zeros(1, 2).double()
    right = _right(make.eye(2)[None], zero, PLANE[:, :2], AXES[:2])
    return Sides(right, make.vector(0.75))


statement(
    "pairs-cap-linear-logits",
    "Proposition 16.3",
    "linear logits, classes of equal size made of pairs ±x: accuracy ≤ 1/2 + 1/(2K)",
    _opposite,
    {"linear logits": _opposite_nonlinear, "opposite pairs": _one_sided},
    _opposite_extremal,
)


def _readable(D: Tensor, Y: Tensor, L: Tensor, q: int, error: Tensor | None = None) -> Sides:
    """‖L(I − P_q(Y))‖ against ‖DY − L‖ + ‖D‖ s_{q+1}(Y)."""
    E = make.norm(D @ Y - L) if error is None else error
    allowed = E + make.norm(D) * singular_value(Y, q + 1) + ROUNDING
    return Sides(make.norm(make.outside(L, row_basis(Y, q))), allowed)


def _readable_random(seed: int, count: int) -> Sides:
    K, p = make.shape(seed, K=(1, 3), p=(1, 6))
    counts = make.sizes(seed, "n", K, 2, 5)
    (q,) = make.shape(seed, q=(1, min(p, sum(counts))))
    L = make.indicators(counts).expand(count, -1, -1)
    size = make.log_uniform(seed, "size", -3, 1, count, 1, 1)
    Y = make.gaussian(seed, "M", count, p, K) @ L
    Y = Y + size * make.gaussian(seed, "rest", count, p, sum(counts))
    mix = make.log_uniform(seed, "mix", -4, 0, count, 1, 1)
    D = L @ torch.linalg.pinv(Y) + mix * make.gaussian(seed, "D", count, K, p)
    return _readable(D, Y, L, q)


def _readable_extremal() -> Sides:
    """Y = diag(1, 2), the label is e₁, D = (1, 0): it hides in the second direction."""
    Y, L = torch.diag(make.vector(1.0, 2.0)), make.matrix([[1, 0]])
    return _readable(L[None], Y[None], L[None], 1)


def _unreadable() -> Sides:
    """Y does not hold the label, and the error of the readout is left out."""
    Y, L = make.matrix([[0, 1]]), make.matrix([[1, 0]])
    zero = torch.zeros(1, dtype=torch.float64)
    return _readable(zero[:, None, None], Y[None], L[None], 1, error=zero)


statement(
    "readable-labels",
    "Theorem 16.4",
    "‖L(I − P_q(Y))‖ ≤ ‖DY − L‖ + ‖D‖ s_{q+1}(Y)",
    _readable_random,
    {"the readout's error counted": _unreadable},
    _readable_extremal,
)


def _collapse(M: Tensor, L: Tensor, rest: Tensor) -> Sides:
    """‖P_K(ML + Δ) − LᵀL‖ against ‖Δ‖/(s_K(M) − ‖Δ‖)."""
    K, size = L.shape[-2], make.norm(rest)
    gap = torch.linalg.svdvals(M)[..., K - 1] - size
    usable = gap > 0
    distance = make.norm(row_projector((M @ L + rest)[usable], K) - L.mT @ L)
    return Sides(distance, (size / gap)[usable] + ROUNDING)


def _collapse_random(seed: int, count: int) -> Sides:
    K, more = make.shape(seed, K=(1, 3), more=(0, 4))
    counts = make.sizes(seed, "n", K, 2, 5)
    L = make.indicators(counts)
    M = make.gaussian(seed, "M", count, K + more, K)
    rest = make.gaussian(seed, "rest", count, K + more, sum(counts))
    size = make.uniform(seed, "size", 0.01, 0.95, count) * torch.linalg.svdvals(M)[:, -1]
    return _collapse(M, L, (size / make.norm(rest))[:, None, None] * rest)


def _collapse_extremal() -> Sides:
    """Y = diag(½ − t, ½) from M = e₁: the direction of the class has just lost."""
    t, L = 1e-3, make.matrix([[1, 0]])
    rest = torch.diag(make.vector(-0.5 - t, 0.5))
    M = make.matrix([[1], [0]])
    return _collapse(M[None], L, rest[None])


def _equal_means() -> Sides:
    """Two classes with one mean: P_2 takes its second direction from the deviations."""
    L = make.indicators([2, 2])
    M = make.matrix([[1, 1], [0, 0]])
    rest = 1e-3 * make.gaussian(0, "rest", 2, 4)
    distance = make.norm(row_projector(M @ L + rest, 2) - L.mT @ L)
    gap = make.norm(M) - make.norm(rest)  # s_1 where s_K belongs
    return make.one(distance, make.norm(rest) / gap)


statement(
    "collapsed-means",
    "Corollary 16.5",
    "Y = ML + Δ, ‖Δ‖ < s_K(M) ⇒ ‖P_K(Y) − LᵀL‖ ≤ ‖Δ‖/(s_K(M) − ‖Δ‖)",
    _collapse_random,
    {"class means independent": _equal_means},
    _collapse_extremal,
)


def _price(P: Tensor, Q: Tensor, L: Tensor, shares: Tensor) -> Sides:
    """Both lower bounds of the distance, and the share of P in Q, as left/right ≤ 1."""
    r, K = make.square(P), L.shape[-2]
    spectral = (1 - shares).amax(-1).clamp(min=0).sqrt() / (make.norm(P - Q) + ROUNDING)
    missing = (K - shares.sum(-1)).clamp(min=0)
    fro = missing / (make.square(P - Q) / 2 + ROUNDING)
    inside = (P @ Q).diagonal(dim1=-2, dim2=-1).sum(-1) / r
    allowed = inside / (1 - missing / r + ROUNDING)
    return make.ratios(spectral, fro, allowed, slack=ROUNDING)


def _blocks(seed: int, count: int) -> tuple[Tensor, Tensor, int]:
    """P(X*) of K independent subspaces, the indicators, the rank r > K."""
    (K,) = make.shape(seed, K=(1, 3))
    dims, more = make.sizes(seed, "r", K, 1, 3), make.sizes(seed, "n", K, 1, 4)
    counts = [r_k + extra for r_k, extra in zip(dims, more, strict=True)]
    sizes = enumerate(zip(dims, counts, strict=True))
    blocks = [
        row_projector(make.gaussian(seed, f"C{k}", count, r_k, n_k), r_k) for k, (r_k, n_k) in sizes
    ]
    return make.block_diagonal(blocks), make.indicators(counts), sum(dims)


def _price_random(seed: int, count: int) -> Sides:
    P, L, r = _blocks(seed, count)
    K, n = L.shape
    Q = (L.mT @ L).expand_as(P)
    if r > K:  # r − K more directions, orthogonal to the indicators
        free = make.gaussian(seed, "free", count, r - K, n)
        Q = Q + row_projector(make.outside(free, L), r - K)
    return _price(P, Q, L, (P @ L.mT).square().sum(-2))


def _price_extremal() -> Sides:
    """Two points, one class, and a signal (1, −1) orthogonal to its indicator."""
    L = make.indicators([2])
    P = make.matrix([[1, -1], [-1, 1]]) / 2
    return _price(P[None], (L.mT @ L)[None], L, torch.zeros(1, 1, dtype=torch.float64))


def _labels_elsewhere() -> Sides:
    """Q = P does not contain the labels: nothing is lost."""
    L = make.indicators([2])
    P = make.matrix([[1, -1], [-1, 1]]) / 2
    return _price(P[None], P[None], L, torch.zeros(1, 1, dtype=torch.float64))


statement(
    "price-of-labels",
    "Theorem 16.6",
    "Q ⊃ labels, rank r: ‖P − Q‖² ≥ 1 − min s_k, ‖P − Q‖_F² ≥ 2(K − Σs_k)",
    _price_random,
    {"labels inside Q": _labels_elsewhere},
    _price_extremal,
)

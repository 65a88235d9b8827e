"""Chapter 16, Reconstruct or classify?"""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.rowspace import singular_value


def _signs(n: int) -> Tensor:
    """(2^n, n): all vectors of n signs."""
    return torch.cartesian_prod(*[make.vector(-1.0, 1.0)] * n).reshape(-1, n)


def _expected_share(X: Tensor, dims: list[int], counts: list[int], signs: bool = True) -> Sides:
    """Mean of ‖P(X*)1_k‖²/n_k over all signs of the columns of cluster k, against r_k/n_k.

    Gaussian coefficients C_k and C_k S, S a diagonal of signs, have one distribution: the mean over
    S of every single draw is what the expectation is. signs=False: this draw alone.
    """
    V = make.row_space(X)
    P, off, start = V.mT @ V, [], 0
    for r_k, n_k in zip(dims, counts, strict=True):
        block = P[..., start : start + n_k, start : start + n_k]
        turned = _signs(n_k) if signs else torch.ones(1, n_k, dtype=P.dtype)
        shares = torch.einsum("si,cij,sj->cs", turned, block, turned) / n_k
        off.append((shares.mean(-1) - r_k / n_k).abs())
        start += n_k
    return make.rounding(torch.stack(off).amax(0), ROUNDING)


def _union(seed: int, count: int, positive: bool = False) -> tuple[Tensor, list[int], list[int]]:
    """Independent subspaces, not orthogonal ones, with Gaussian coefficients of any variance."""
    (K,) = make.shape(seed, K=(1, 3))
    dims, more = make.sizes(seed, "r", K, 1, 3), make.sizes(seed, "more", K, 0, 4)
    counts = [r_k + extra for r_k, extra in zip(dims, more, strict=True)]
    size = make.log_uniform(seed, "deviation", -1, 1, count, 1, 1)
    C = [
        size * make.gaussian(seed, f"C{k}", count, r_k, n_k)
        for k, (r_k, n_k) in enumerate(zip(dims, counts, strict=True))
    ]
    blocks = make.block_diagonal([A.abs() if positive else A for A in C])
    return make.gaussian(seed, "U", count, sum(dims) + 1, sum(dims)) @ blocks, dims, counts


def _gaussian_share(seed: int, count: int) -> Sides:
    return _expected_share(*_union(seed, count))


def _positive_share() -> Sides:
    """Coefficients of one sign have no signs to average over: they point along the constant."""
    return _expected_share(*_union(1, 3, positive=True), signs=False)


def _no_coefficients() -> Sides:
    """Variance 0: no signal, no share."""
    return _expected_share(torch.zeros(1, 2, 3, dtype=torch.float64), [1], [3])


statement(
    "labels-outside-signal",
    "Proposition 16.1",
    "Gaussian coefficients: E‖P(X*)1_k‖²/n_k = r_k/n_k",
    _gaussian_share,
    {"directions without preference": _positive_share, "a positive variance": _no_coefficients},
    form="identity",
)


def _linear(seed: int, count: int, relu: bool = False) -> Sides:
    """‖D W X − L‖_F² against ‖L(I − P_row(X))‖_F² from below; K hidden units attain it, with
    D = I and W = LX⁺; it is 0 for X of rank n, and K − Σ a_k where P is the projector of X.
    """
    m, p, K = make.shape(seed, m=(1, 5), p=(1, 5), K=(1, 3))
    counts = make.sizes(seed, "n", K, 2, 5)
    L = make.indicators(counts)
    n = sum(counts)
    X = make.gaussian(seed, "X", count, m, n)
    least = make.square(make.outside(L, row_basis(X, min(m, n))))
    A = make.gaussian(seed, "W", count, p, m) @ X
    D = L @ torch.linalg.pinv(torch.relu(A) if relu else A)  # the best readout of this layer
    reached = make.square(D @ (torch.relu(A) if relu else A) - L)
    attained = make.square((L @ torch.linalg.pinv(X)) @ X - L)
    P = row_projector(X, min(m, n))
    shares = (L.expand(count, -1, -1) @ P).square().sum(-1)  # ‖Pℓ_k‖²
    checks = [
        (least, reached),
        ((attained - least).abs(), torch.zeros_like(least)),
        ((K - shares.sum(-1) - least).abs(), torch.zeros_like(least)),
    ]
    if m >= n:
        checks.append((least, torch.zeros_like(least)))
    return make.worst(*((left, right + ROUNDING) for left, right in checks))


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


def _cap(K: int) -> float:
    return 0.5 + 1 / (2 * K)


def _opposite(seed: int, count: int) -> Sides:
    """Every class: equally many pairs ±x."""
    K, m, half = make.shape(seed, K=(2, 4), m=(1, 5), half=(1, 5))
    A = make.gaussian(seed, "x", count, m, K * half)
    labels = torch.arange(K).repeat_interleave(half).repeat(2)
    D, b = make.gaussian(seed, "D", count, K, m), make.gaussian(seed, "b", count, K)
    right = _right(D, b, torch.cat([A, -A], -1), labels)
    return Sides(right, torch.full_like(right, _cap(K) + ROUNDING))


PLANE = make.matrix([[1, 0, -1, 0], [0, 1, 0, -1]])  # two classes, one axis each: x, y, −x, −y
AXES = torch.tensor([0, 1, 0, 1])


def _opposite_extremal() -> Sides:
    """K axes, a class each: class 1 for both of its points, the others for one each.

    D = diag(0, 1, …, 1) and b = (½, 0, …, 0).
    """
    found = []
    for K in (2, 3, 4):
        D, b = make.eye(K), torch.zeros(K).double()
        D[0, 0], b[0] = 0, 0.5
        X, labels = torch.cat([make.eye(K), -make.eye(K)], 1), torch.arange(K).repeat(2)
        found.append(make.one(_right(D[None], b[None], X, labels), _cap(K)))
    return make.every(*found)


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
    unread = make.matrix([[0, 1]])  # and D = 0: the readout's error is all there is
    return make.every(
        _readable(L[None], Y[None], L[None], 1),
        _readable(0 * L[None, :, :1], unread[None], L[None], 1),
    )


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


def _price(P: Tensor, Q: Tensor, L: Tensor, shares: Tensor, only: int | None = None) -> Sides:
    """Both lower bounds of the distance, and the share of P in Q, as left/right ≤ 1.

    only: the one of the three that is looked at.
    """
    r, K = make.square(P), L.shape[-2]
    spectral = (1 - shares).amax(-1) / (make.norm(P - Q).square() + ROUNDING)
    missing = (K - shares.sum(-1)).clamp(min=0)
    fro = missing / (make.square(P - Q) / 2 + ROUNDING)
    inside = (P @ Q).diagonal(dim1=-2, dim2=-1).sum(-1) / r
    # negative room is no room
    allowed = inside / (1 - missing / r + ROUNDING).clamp(min=ROUNDING)
    checks = (spectral, fro, allowed)
    return make.ratios(*(checks if only is None else checks[only : only + 1]), slack=ROUNDING)


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
        if seed % 2:  # in the range of P: all three bounds are then attained
            free = _orthogonal_to_labels(P, L, r)
        Q = Q + row_projector(make.outside(free, L), r - K)
    return _price(P, Q, L, (P @ L.mT).square().sum(-2))


def _orthogonal_to_labels(P: Tensor, L: Tensor, r: int) -> Tensor:
    """r − K orthonormal rows in the range of P that are orthogonal to every label."""
    R = row_basis(P, r)
    left = torch.linalg.svd(R @ L.mT).U[..., len(L) :]
    return left.mT @ R


def _price_extremal() -> Sides:
    """Two points, one class, and a signal (1, −1) orthogonal to its indicator; and two classes of
    three with planes, Q made of the labels and of what of P is orthogonal to them.
    """
    L = make.indicators([2])
    P = make.matrix([[1, -1], [-1, 1]]) / 2
    line = _price(P[None], (L.mT @ L)[None], L, torch.zeros(1, 1, dtype=torch.float64))
    L = make.indicators([3, 3])
    planes = [row_projector(make.gaussian(0, f"C{k}", 1, 2, 3), 2) for k in range(2)]
    P = make.block_diagonal(planes)
    free = _orthogonal_to_labels(P, L, 4)
    Q = L.mT @ L + free.mT @ free
    shares = (P @ L.mT).square().sum(-2)
    return make.every(line, *(_price(P, Q, L, shares, only=k) for k in range(3)))


def _labels_elsewhere() -> Sides:
    """Q = P does not contain the labels: nothing is lost."""
    L = make.indicators([2])
    P = make.matrix([[1, -1], [-1, 1]]) / 2
    return _price(P[None], P[None], L, torch.zeros(1, 1, dtype=torch.float64))


statement(
    "price-of-labels",
    "Theorem 16.6",
    "Q ⊃ labels, rank r: ‖P − Q‖² ≥ 1 − min a_k, ‖P − Q‖_F² ≥ 2(K − Σa_k)",
    _price_random,
    {"labels inside Q": _labels_elsewhere},
    _price_extremal,
)

"""Chapter 19, Convolution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, row_projector


def _windows(size: int, kernel: int, stride: int, pad: int) -> Tensor:
    """(positions, kernel, size): S_j picks the entries of window j, zero where it hangs over."""
    starts = range(-pad, size + pad - kernel + 1, stride)
    index = torch.tensor([[a + i for i in range(kernel)] for a in starts])
    inside = (index >= 0) & (index < size)
    one_hot = torch.nn.functional.one_hot(index.clamp(0, size - 1), size).double()
    return one_hot * inside[..., None]


def _toeplitz(K: Tensor, S: Tensor) -> Tensor:
    """T = (I ⊗ K)S, (count, positions · c, size); position after position."""
    return torch.einsum("tck,jkm->tjcm", K, S).flatten(1, 2)


def _linear(K: Tensor, S: Tensor, X: Tensor, stride: int, pad: int, low: Tensor) -> Sides:
    """Four conclusions as ratios ≤ 1: T is the convolution, both bounds, and P_r(TX*) = P_r(X*).

    low: the value that stands for s_κ(K)²·(fewest windows of an entry), (count,).
    """
    T = _toeplitz(K, S)
    most = S.sum((0, 1)).max()
    images, size = (T @ X).square().sum(-2), X.square().sum(-2)  # (count, n)
    lower = low[:, None] * size / (images + ROUNDING)
    upper = images / (make.norm(K)[:, None] ** 2 * most * size)
    pairs = zip(X, K, strict=True)
    maps = [conv1d(x.mT[:, None], k[:, None], stride=stride, padding=pad) for x, k in pairs]
    off = make.largest(torch.stack(maps).permute(0, 3, 2, 1).flatten(1, 2) - T @ X) / ROUNDING
    r = int(make.count_rank(X).min())
    kept = torch.zeros_like(off)
    seen = images.amin(-1) > ROUNDING  # a control may send a point to zero
    good = seen & (low > 1e-3 * make.norm(K) ** 2)  # P_r is then computed to rounding
    if good.any():
        change = row_projector((T @ X)[good], r) - row_projector(X[good], r)
        kept[good] = make.norm(change) / 1e-6
    return make.ratios(lower.amax(-1), upper.amax(-1), off, kept, slack=ROUNDING)


def clean_data(seed: int, count: int, m: int, n: int, r: int) -> Tensor:
    return make.gaussian(seed, "U", count, m, r) @ make.gaussian(seed, "V", count, r, n)


def _convolution(seed: int, count: int) -> Sides:
    """Data of rank r below the number of points, so that P_r(X*) is not the identity."""
    kernel, more, pad = make.shape(seed, kernel=(1, 4), more=(0, 3), pad=(0, 1))
    (stride,) = make.shape(seed, stride=(1, kernel))
    (blocks,) = make.shape(seed, blocks=(1, 4))
    size = kernel + stride * blocks - 2 * pad  # no entry left over at the end
    if size < 1:
        size, pad = kernel + stride * blocks, 0
    S = _windows(size, kernel, stride, pad)
    few = S.sum((0, 1)).min()
    r, extra = make.shape(seed, r=(1, min(size, 4)), extra=(1, 4))
    K = make.gaussian(seed, "K", count, kernel + more, kernel)
    X = clean_data(seed, count, size, r + extra, r)
    low = torch.linalg.svdvals(K)[:, kernel - 1] ** 2 * few
    return _linear(K, S, X, stride, pad, low)


def _convolution_extremal() -> Sides:
    """K = I: ‖Tx‖² counts each entry as often as it lies in a window, an end twice (a = 2), an
    inner one three times (h = 3). Lower bound at the end, upper bound inside.
    """
    T = _toeplitz(make.eye(3)[None], S := _windows(4, 3, 1, 1))
    windows = S.sum((0, 1))
    images = (T @ make.eye(4)).square().sum(-2)[0]
    lower = make.one(windows.min(), images[0])
    return make.every(lower, make.one(images[1], windows.max()))


def _gaps() -> Sides:
    """Stride 3 with kernels of length 2: every third entry is in no window."""
    S = _windows(5, 2, 3, 0)
    x = make.matrix([[0], [0], [1], [0], [0]])
    return _linear(make.eye(2)[None], S, x[None], 3, 0, make.vector(1))


def _few_channels() -> Sides:
    """One channel (1, −1) does not see a constant; its one singular value stands for s_2."""
    S = _windows(4, 2, 1, 0)
    x = torch.ones(1, 4, 1, dtype=torch.float64)
    return _linear(make.matrix([[1, -1]])[None], S, x, 1, 0, make.vector(2))


statement(
    "convolution-is-linear",
    "Proposition 19.1",
    "conv = TX; s_κ(K)√a‖x‖ ≤ ‖Tx‖ ≤ ‖K‖√h‖x‖; then P_r(TX*) = P_r(X*)",
    _convolution,
    {"every entry in some window": _gaps, "K of rank κ": _few_channels},
    _convolution_extremal,
)


def _shared(R: Tensor, Y: Tensor) -> Tensor:
    """tr(P Q), Q the projector on the row space of Y; R has orthonormal rows."""
    return make.square(R @ make.row_space(Y).mT)


def _pooled(K: Tensor, S: Tensor, X: Tensor, flat: bool = False, act: bool = False) -> Sides:
    """tr(P Q) of pooled WX against min(c, κ), and of pooled relu(WX) against c; where min(c, κ) is
    below the rank r, also ‖P − Q‖ = 1 for the first; and pooled WX = K S̄ X.
    """
    c, kernel = K.shape[-2:]
    A = _toeplitz(K, S) @ X
    maps = A.unflatten(-2, (len(S), c))
    R = row_basis(X, min(X.shape[-2:]))
    linear = torch.relu(maps).mean(-3) if act else A if flat else maps.mean(-3)
    before, after = (_shared(R, Y) for Y in (linear, torch.relu(maps).mean(-3)))
    checks = [before / min(c, kernel), after / c]
    if not flat and not act:
        checks.append(make.largest(linear - K @ S.mean(0) @ X) / ROUNDING)
        if min(c, kernel) < R.shape[-2]:
            V = make.row_space(linear)
            apart = make.norm(R.mT @ R - V.mT @ V)
            checks.append((apart - 1).abs() / ROUNDING)
    return make.ratios(*checks, slack=ROUNDING)


def _pooling(seed: int, count: int) -> Sides:
    kernel, c, blocks = make.shape(seed, kernel=(1, 4), c=(1, 5), blocks=(1, 4))
    size, (n,) = kernel + blocks, make.shape(seed, n=(1, 12))
    K = make.gaussian(seed, "K", count, c, kernel)
    return _pooled(K, _windows(size, kernel, 1, 0), make.gaussian(seed, "X", count, size, n))


def _two_channels(flat: bool = False) -> Sides:
    """Two channels, kernels of length 2, r = 4: pooled, exactly two directions are left."""
    return _pooled(make.eye(2)[None], _windows(4, 2, 2, 0), make.eye(4)[None], flat)


def _pooling_extremal() -> Sides:
    """Two directions of four with c = κ = 2; one with κ = 1 < c and with c = 1 < κ, before ReLU."""
    one = [
        _pooled(K[None], _windows(4, K.shape[1], K.shape[1], 0), make.eye(4)[:, :1][None])
        for K in (make.matrix([[1], [1]]), make.matrix([[1, 1]]))
    ]
    return make.every(_two_channels(), *one)


def _activation_first() -> Sides:
    """Four channels of length one: pooling after ReLU is not bound by κ = 1."""
    K = make.gaussian(0, "K", 1, 4, 1)
    return _pooled(K, _windows(6, 1, 1, 0), make.gaussian(0, "X", 1, 6, 6), act=True)


statement(
    "pooling",
    "Proposition 19.2",
    "pooled: tr P(X*)P(A·TX) ≤ min(c, κ), tr P(X*)P(A·σ(TX)) ≤ c",
    _pooling,
    {
        "pooled before the activation": _activation_first,
        "pooled at all": lambda: _two_channels(flat=True),
    },
    _pooling_extremal,
)

"""Chapter 18, Convolution and attention."""

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


def _clean(seed: int, count: int, m: int, n: int, r: int) -> Tensor:
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
    X = _clean(seed, count, size, r + extra, r)
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
    "Proposition 18.1",
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
    "Proposition 18.2",
    "pooled: tr P(X*)P(A·TX) ≤ min(c, κ), tr P(X*)P(A·σ(TX)) ≤ c",
    _pooling,
    {
        "pooled before the activation": _activation_first,
        "pooled at all": lambda: _two_channels(flat=True),
    },
    _pooling_extremal,
)


def _mixed(weights: Tensor, W: Tensor, C: Tensor, X: Tensor) -> Tensor:
    """Y with columns (C + A_j ⊗ W)x_j. weights: (count, n, S, S), X: (count, S · D, n)."""
    tokens = X.mT.unflatten(-1, (weights.shape[-1], -1))  # (count, n, S, D)
    mixed = (weights @ tokens @ W.mT[:, None]).flatten(-2).mT
    return C @ X + mixed


def _kron(A: Tensor, W: Tensor) -> Tensor:
    """A ⊗ W for each of a batch."""
    return torch.einsum("tab,tcd->tacbd", A, W).flatten(1, 2).flatten(2, 3)


def _steady(
    weights: Tensor,
    W: Tensor,
    C: Tensor,
    clean: Tensor,
    Z: Tensor,
    r: int,
    spread: float = 1.0,
    noise: float = 1.0,
) -> Sides:
    """‖P(X*) − P_r(Y)‖ against e/(s_r − e); ``spread`` and ``noise`` = 0 forget a term of e."""
    X = clean + Z
    mean = weights.mean(1)
    T = C + _kron(mean, W)
    omega = make.norm(weights - mean[:, None]).amax(-1) * make.norm(W)
    e = spread * omega * torch.linalg.matrix_norm(X) + noise * make.norm(T @ Z)
    gap = torch.linalg.svdvals(T @ clean)[:, r - 1] - e
    usable = gap > 0
    Y = _mixed(weights, W, C, X)[usable]
    distance = make.norm(row_projector(Y, r) - row_projector(clean[usable], r))
    return Sides(distance, (e / gap)[usable] + ROUNDING)


def _attention(seed: int, count: int) -> Sides:
    S, D, r = make.shape(seed, S=(1, 4), D=(1, 4), r=(1, 3))
    r = min(r, S * D)
    n = r + make.shape(seed, n=(1, 6))[0]
    scores = make.gaussian(seed, "scores", count, n, S, S)
    fixed = make.gaussian(seed, "fixed", count, 1, S, S)
    varying = make.log_uniform(seed, "varying", -5, -1, count, 1, 1, 1)
    weights = torch.softmax(fixed + varying * scores, -1)
    W = make.gaussian(seed, "W", count, D, D)
    C = (seed % 2) * make.eye(S * D).expand(count, -1, -1)
    Z = make.gaussian(seed, "Z", count, S * D, n)
    Z = make.log_uniform(seed, "noise", -6, -1, count, 1, 1) * Z
    return _steady(weights, W, C, _clean(seed, count, S * D, n, r), Z, r)


def _noise_alone() -> Sides:
    """One token of two numbers, X* = e₁e₁ᵀ and noise t·e₁e₂ᵀ: sin θ = t/√(1 + t²)."""
    weights = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    W, C = make.eye(2)[None], torch.zeros(1, 2, 2, dtype=torch.float64)
    clean, Z = make.matrix([[1, 0], [0, 0]]), 1e-3 * make.matrix([[0, 1], [0, 0]])
    return _steady(weights, W, C, clean[None], Z[None], 1)


def _spread_alone() -> Sides:
    """Two points on each of two axes, X = [e₁ e₁ e₂ e₂]; the weights push all four along e₁, by t,
    −t, t and −t: ‖Δ‖ = t‖X‖_F. The row (1, 1, 0, 0) becomes (1 + t, 1 − t, t, −t): tan θ = √2 t.
    """
    t, clean = 1e-3, make.matrix([[1, 1, 0, 0], [0, 0, 1, 1]])
    push = t * make.matrix([[1, 0], [-1, 0], [0, 1], [0, -1]])
    weights = make.eye(2) + torch.stack([push, torch.zeros_like(push)], 1)
    zero = torch.zeros(1, 2, 2, dtype=torch.float64)
    return _steady(weights[None], make.eye(1)[None], zero, clean[None], 0 * clean[None], 2)


def _attention_extremal() -> Sides:
    return make.every(_noise_alone(), _spread_alone())


def _softmax_spread(seed: int, count: int) -> Sides:
    """‖A − 11ᵀ/S‖ against e^{2λ} − 1 for softmax weights A of scores in [−λ, λ]."""
    (S,) = make.shape(seed, tokens=(1, 5))
    size = make.log_uniform(seed, "λ", -4, 0.5, count)
    scores = size[:, None, None] * make.uniform(seed, "scores", -1, 1, count, S, S).sign()
    return Sides(make.norm(torch.softmax(scores, -1) - 1 / S), torch.expm1(2 * size) * make.NEARLY)


def _varying(**forget: float) -> Sides:
    """Two points of a line, one of which looks at itself and the other at its neighbour."""
    own, shared = make.matrix([[0.9, 0.1], [0.1, 0.9]]), make.matrix([[0.5, 0.5], [0.5, 0.5]])
    weights = torch.stack([own, shared])
    zero = torch.zeros(1, 2, 2, dtype=torch.float64)
    clean = make.matrix([[1, 1], [0, 0]])
    Z = 0.01 * make.matrix([[1, -1], [0, 0]])
    steady = weights.mean(0).expand(2, 2, 2)
    chosen = steady if "noise" in forget else weights
    return _steady(chosen[None], make.eye(1)[None], zero, clean[None], Z[None], 1, **forget)


statement(
    "steady-attention",
    "Theorem 18.3",
    "Y = [T_1x_1 … T_nx_n], T_j = C + A_j ⊗ W: ‖P(X*) − P_r(Y)‖ ≤ e/(s_r(T̄X*) − e)",
    lambda seed, count: _softmax_spread(seed, count) if seed % 4 == 3 else _attention(seed, count),
    {
        "the spread of the weights counted": lambda: _varying(spread=0.0),
        "the noise counted": lambda: _varying(noise=0.0),
    },
    _attention_extremal,
)


def _two_lines(t: Tensor, beta: Tensor, fixed: bool = False) -> Sides:
    """The distance for t_i e₁, t_i e₂ against its closed form; 1 where it is zero although the t_i
    differ by a hundredth. t: (count, N), beta: (count, 1).
    """
    zero = torch.zeros_like(t)
    X = torch.stack([torch.cat([t, zero], -1), torch.cat([zero, t], -1)], -2)  # (count, 2, 2N)
    scores = beta[..., None, None] * X.mT[..., :, None] * X.mT[..., None, :]
    weights = torch.softmax(scores, -1)
    if fixed:
        weights = weights.mean(1, keepdim=True).expand_as(weights)
    one = torch.ones(len(t), 1, 1, dtype=t.dtype)
    Y = _mixed(weights, one, torch.zeros(len(t), 2, 2, dtype=t.dtype), X)
    distance = make.norm(row_projector(X, 2) - row_projector(Y, 2))
    g = torch.sigmoid(beta * t * t)
    sines = []
    for v in (t * (g + 0.5), t * (g - 0.5)):
        u = v / v.norm(dim=-1, keepdim=True)
        rest = t - (t * u).sum(-1, keepdim=True) * u
        sines.append(rest.norm(dim=-1) / t.norm(dim=-1))
    off = (distance - torch.stack(sines).amax(0)).abs()
    differ = t.amax(-1) > 1.01 * t.amin(-1)
    return make.rounding(torch.where(differ & (distance <= 1e-9), 1.0, off), 1e-8)


def _lines(seed: int, count: int) -> Sides:
    (N,) = make.shape(seed, N=(1, 6))
    t = make.log_uniform(seed, "t", -0.5, 0.5, count, N)
    if seed % 4 == 0:  # all equal: nothing moves
        t = t[:, :1].expand(-1, N)
    return _two_lines(t, make.log_uniform(seed, "beta", -1, 0.5, count, 1))


def _fixed_weights() -> Sides:
    """The same points with weights that no longer depend on them: nothing moves."""
    return _two_lines(make.matrix([[1, 3]]), make.matrix([[1]]), fixed=True)


statement(
    "attention-moves-clean-data",
    "Counterexample 18.4",
    "two lines under softmax attention: ‖P(X*) − P_2(Y)‖ = max(sin∠(p, t), sin∠(q, t))",
    _lines,
    {"weights that depend on the point": _fixed_weights},
    form="identity",
)

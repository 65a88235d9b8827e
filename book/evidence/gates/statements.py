"""What opens the gates: the first motion, what the decoder does to it, gates that stay open."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement

Theta = tuple[Tensor, Tensor, Tensor]  # W (c, p, m), β (c, p), D (c, m, p)


def gradient(theta: Theta, X: Tensor, a: Tensor, slope: float = 0.0) -> Theta:
    """Of ½‖D relu(WX + aβ1ᵀ) − X‖_F² by W, β, D, by automatic differentiation. a: (c, 1, 1)."""
    leaves = [part.clone().requires_grad_() for part in theta]
    W, beta, D = leaves
    pre = W @ X + a * beta[..., None]
    out = D @ torch.where(pre > 0, pre, slope * pre)
    found = torch.autograd.grad((out - X).square().sum() / 2, leaves)
    return found[0], found[1], found[2]


def second_motion(W: Tensor, X: Tensor, a: Tensor, trains: bool = True) -> Tensor:
    """Second derivative at time 0 of the pre-activations under gradient flow, β = 0, D = 0.

    There W and β have gradient zero, and D moves along v. At D = sv the gradient by (W, β) is a
    polynomial of degree two in s, so that the central difference at s = ±1 is exact.
    """
    beta, zero = W[..., 0] * 0, W.mT * 0
    v = -gradient((W, beta, zero), X, a)[2]
    ahead, back = (gradient((W, beta, s * v), X, a) for s in (1.0, -1.0))
    w2, b2 = (-(f - b) / 2 for f, b in zip(ahead[:2], back[:2], strict=True))
    return w2 @ X + trains * a * b2[..., None]


def predicted(W: Tensor, X: Tensor, a: Tensor) -> Tensor:
    """¼(2a² (XXᵀw_i)ᵀ Σ_open x_l + w_iᵀ(XXᵀ)²x_j)."""
    A, G = W @ X, X @ X.mT
    opened = ((A > 0).double() @ X.mT * (W @ G)).sum(-1, keepdim=True)
    return (2 * a**2 * opened + W @ G @ G @ X) / 4


def paired(seed: int, count: int, m: int, half: int) -> Tensor:
    """(count, m, 2·half) of any rank, every point with its opposite."""
    size = make.log_uniform(seed, "size", -0.5, 0.5, count, 1, half)
    X = make.gaussian(seed, "X", count, m, half) * size
    return torch.cat([X, -X], -1)


def _layer(seed: int, count: int, pairs: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    m, p, half = make.shape(seed, m=(1, 6), p=(1, 5), half=(1, 8))
    X = paired(seed, count, m, half)
    if not pairs:
        X = make.gaussian(seed, "unpaired", *X.shape)
    a = make.log_uniform(seed, "a", -1, 1, count, 1, 1)
    return make.gaussian(seed, "W", count, p, m), X, a


def _relative(found: Tensor, expected: Tensor) -> Sides:
    size = make.largest(found) + make.largest(expected)
    return make.rounding(make.largest(found - expected) / size.clamp(min=1e-300))


def _first_motion(seed: int, count: int, pairs: bool = True, trains: bool = True) -> Sides:
    W, X, a = _layer(seed, count, pairs)
    return _relative(second_motion(W, X, a, trains), predicted(W, X, a))


def _with_decoder() -> Sides:
    """Where D is not zero the pre-activations move at once, by a first derivative."""
    W, X, a = _layer(3, 20)
    D = make.gaussian(3, "D", *W.mT.shape)
    w1, b1, _ = gradient((W, W[..., 0] * 0, D), X, a)
    return make.rounding(make.largest(w1 @ X + a * b1[..., None]))


statement(
    "gates-first-motion",
    "Theorem 14.1",
    "opposite pairs, β = 0, D = 0: A_ij moves by t²/8 (2a²(XXᵀw)ᵀΣ_open x + wᵀ(XXᵀ)²x_j)",
    _first_motion,
    {
        "opposite pairs": lambda: _first_motion(2, 40, pairs=False),
        "the bias is trained": lambda: _first_motion(2, 40, trains=False),
        "a decoder of zero": _with_decoder,
    },
    form="identity",
)


def _eigen(seed: int, count: int, aligned: bool = True, trains: bool = True) -> Sides:
    """Where the sign of the motion and the criterion disagree, over all closed gates."""
    m, half = make.shape(seed, m=(2, 6), half=(2, 8))
    X = paired(seed, count, m, half)
    squares, E = torch.linalg.eigh(X @ X.mT)
    k = make.shape(seed, k=(0, m - 1))[0]
    k = max(k, m - half)  # a direction that the points have
    W, s2 = E[..., k][:, None, :], squares[:, k][:, None, None]
    if not aligned:
        W = make.gaussian(seed, "W", count, 1, m)
        s2 = (make.square(W @ X) / make.square(W))[:, None, None]
    # a²n/s² from far below to far above the window
    ratio = make.log_uniform(seed, "ratio", -2, 2, count, 1, 1)
    A = W @ X
    rises = second_motion(W, X, (ratio * s2 / A.shape[-1]).sqrt(), trains) > 0
    mean = A.abs().mean(-1, keepdim=True)
    clear = (A.abs() / (ratio * mean) - 1).abs() > ROUNDING  # neither on the border
    said = A.abs() < ratio * mean
    wrong = ((rises != said) & (A < 0) & clear).any(-1).any(-1)
    # in a direction much weaker than the strongest, rounding is no longer small beside the motion
    return make.flags(wrong[squares[:, k] > 1e-3 * squares[:, -1]])


statement(
    "gates-sign-rule",
    "Corollary 14.2",
    "w in the eigenspace of s²: a closed gate rises iff |wᵀx_j| < (a²n/s²) mean_l |wᵀx_l|",
    _eigen,
    {
        "w in an eigenspace": lambda: _eigen(4, 60, aligned=False),
        "the bias is trained": lambda: _eigen(4, 60, trains=False),
    },
    form="identity",
)


def _any_decoder(seed: int, count: int, open_only: bool = True, slope: float = 0.0) -> Sides:
    """The first derivative of A against −Σ_open (d_iᵀe_l)(a² + x_lᵀx_j), and the sign of a row."""
    W, X, a = _layer(seed, count, pairs=False)
    p = W.shape[-2]
    beta = make.gaussian(seed, "β", count, p)
    D = make.gaussian(seed, "D", count, X.shape[-2], p)
    w1, b1, _ = gradient((W, beta, D), X, a, slope)
    moved = -(w1 @ X + a * b1[..., None])
    pre = W @ X + a * beta[..., None]
    E = D @ torch.relu(pre) - X
    weight = (D.mT @ E) * ((pre > 0) if open_only else torch.ones_like(pre, dtype=torch.bool))
    expected = -(a**2 * weight.sum(-1, keepdim=True) + weight @ (X.mT @ X))
    size = make.largest(moved) + make.largest(expected)
    off = make.largest(moved - expected) / size.clamp(min=1e-300)
    pull, own = -(a**2) * weight.sum(-1, keepdim=True), (weight @ (X.mT @ X)).abs()
    together = (pull.abs() > own.amax(-1, keepdim=True)) & (moved.sign() != pull.sign())
    return make.rounding(torch.where(together.any(-1).any(-1), torch.inf, off))


statement(
    "gates-decoder-pulls",
    "Proposition 14.3",
    "any X, W, β, D: the rate of A_ij is −Σ_{l open} (d_iᵀe_l)(a² + x_lᵀx_j)",
    _any_decoder,
    {
        "open gates only": lambda: _any_decoder(2, 40, open_only=False),
        "ReLU": lambda: _any_decoder(2, 40, slope=0.3),
    },
    form="identity",
)


def _dead(seed: int, count: int, decay: float = 0.0, closed: bool = True) -> Sides:
    """What a step moves in unit 1, which is closed on all points."""
    W, X, a = _layer(seed, count, pairs=False)
    p = W.shape[-2]
    beta, D = make.gaussian(seed, "β", count, p), make.gaussian(seed, "D", count, W.shape[-1], p)
    if closed:
        beta[:, 0] = -(1 + (W[:, 0, None] @ X).abs().amax((-2, -1))) / a[:, 0, 0]
    w1, b1, d1 = gradient((W, beta, D), X, a)
    parts = (w1[:, 0] + decay * W[:, 0], b1[:, :1] + decay * beta[:, :1], d1[..., 0])
    return make.rounding(torch.cat([*parts], -1).abs().amax(-1))


statement(
    "dead-units-stay",
    "Proposition 14.4",
    "a unit closed on every point has gradient zero: gradient descent never moves it again",
    _dead,
    {
        "closed on every point": lambda: _dead(2, 40, closed=False),
        "no weight decay": lambda: _dead(2, 40, decay=0.01),
    },
    form="identity",
)


def _scale(seed: int, count: int, bias: bool = False) -> Sides:
    """Five steps on X at rate γ, and on fX at rate γ/f²: the same weights."""
    W, X, a = _layer(seed, count, pairs=False)
    p = W.shape[-2]
    D = make.gaussian(seed, "D", count, W.shape[-1], p)
    f = make.log_uniform(seed, "f", -1, 1, count, 1, 1)
    curved = make.square(W) * make.square(X) + make.square(D) * make.square(X)
    rate = 0.1 / (1 + curved)[:, None, None]
    ends = []
    for factor in (torch.ones_like(f), f):
        theta: Theta = (W, make.gaussian(seed, "β", count, p) * bias, D)
        for _ in range(5):
            g = gradient(theta, factor * X, a)
            step = rate / factor**2
            beta = theta[1] - bias * step[..., 0] * g[1]
            theta = theta[0] - step * g[0], beta, theta[2] - step * g[2]
        ends.append(torch.cat([theta[0], theta[2].mT], -1))
    return make.rounding(make.largest(ends[0] - ends[1]) / (1 + make.largest(ends[0])))


statement(
    "scale-without-bias",
    "Proposition 14.5",
    "no bias: gradient descent on fX at rate γ/f² goes through the same weights as on X at γ",
    _scale,
    {"no bias": lambda: _scale(2, 40, bias=True)},
    form="identity",
)


# --- gates that stay open -----------------------------------------------------------------------

STEPS, LOOKS = 240, 12  # of the integrator, and how many of them are looked at


def linear_gradient(W: Tensor, D: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """Of ½‖(DW − I)X‖_F² by W and D; G = XXᵀ."""
    F = (D @ W - torch.eye(W.shape[-1], dtype=W.dtype)) @ G
    return D.mT @ F, F @ W.mT


def linear_flow(W: Tensor, D: Tensor, G: Tensor, h: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Its gradient flow by the classical Runge–Kutta method; h: (c, 1, 1), a step of each."""
    path = [(W, D)]
    for _ in range(STEPS):
        k = linear_gradient(W, D, G)
        total = list(k)
        for part, weight in ((0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
            k = linear_gradient(W - part * h * k[0], D - part * h * k[1], G)
            total = [t + weight * x for t, x in zip(total, k, strict=True)]
        W, D = W - h / 6 * total[0], D - h / 6 * total[1]
        path.append((W, D))
    return path


class Open:
    """Networks that satisfy the hypotheses of Theorem 14.6, unless one is broken."""

    def __init__(
        self,
        seed: int,
        count: int,
        even: bool = False,
        enough: float = 1.01,
        sums_to_zero: bool = True,
        mirrored: bool = True,
    ) -> None:
        r, more, half, extra = make.shape(seed, r=(1, 3), more=(0, 2), half=(3, 6), extra=(0, 3))
        spread = make.spectrum(seed, "spectrum", -0.3, 0.3, count, r)
        spread = torch.ones_like(spread) if even else spread
        X = make.with_spectrum(seed, "X", r + more, half, spread)
        X = torch.cat([X, -X], -1) / 2**0.5
        if not sums_to_zero:
            X = X + make.gaussian(seed, "shift", count, r + more, 1)
        size = make.log_uniform(seed, "size", -1, 0.3, count, 1, 1)
        V = size * make.gaussian(seed, "W", count, r + extra, r + more)
        self.X, self.W = X, torch.cat([V, -V if mirrored else V], -2)
        U, s, self.V = torch.linalg.svd(X, full_matrices=False)
        inside = self.W @ U[..., :r]
        self.largest = 1 + make.square(X).sqrt() / s[:, r - 1]
        if even:
            self.largest = torch.ones(count, dtype=torch.float64)
        longest = X.norm(dim=-2).amax(-1)
        need = longest * (inside.square().sum(-1).amax(-1) + self.largest).sqrt()
        self.a = make.log_uniform(seed, "a", -1, 1, count, 1, 1)
        self.beta = (enough * need / self.a[:, 0, 0])[:, None].expand(self.W.shape[:2])
        self.r, self.rate = r, (torch.linalg.svdvals(inside)[:, r - 1] * s[:, r - 1]) ** 2
        # long enough to learn the weakest direction, short enough for the integrator
        fast = s[:, 0] ** 2 * (2 + self.largest + make.norm(self.W) ** 2)
        self.h = torch.minimum(12 / s[:, r - 1] ** 2 / STEPS, 0.1 / fast)

    def path(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(time, W, D) at some steps of the flow of the linear autoencoder."""
        h = self.h[:, None, None]
        path = linear_flow(self.W, self.W.mT * 0, self.X @ self.X.mT, h)
        return [(i * self.h, *path[i]) for i in range(0, STEPS + 1, STEPS // LOOKS)]


def _stay(
    seed: int,
    count: int,
    even: bool = False,
    enough: float = 1.01,
    sums_to_zero: bool = True,
    mirrored: bool = True,
) -> Sides:
    """Along the path: the flow is that of the ReLU network, gates open, and every bound.

    That the path solves the network's own equations is tested by its gradient, taken by automatic
    differentiation through ReLU; solutions are unique.
    """
    net = Open(seed, count, even, enough, sums_to_zero, mirrored)
    X, G, found = net.X, net.X @ net.X.mT, []
    ones = torch.full_like(X[:, :1, :], X.shape[-1] ** -0.5)
    R = torch.cat([net.V[:, : net.r], ones], -2)
    start = make.square(X).sqrt()
    for time, W, D in net.path():
        pre = W @ X + net.a * net.beta[..., None]
        exact = gradient((W, net.beta, D), X, net.a)
        linear = linear_gradient(W, D, G)
        size = 1e-8 * (1 + make.largest(linear[0]) + make.largest(linear[1]))
        size = size * (1 + make.largest(pre)) ** 2
        found += [make.largest(exact[i] - linear[i // 2]) / size for i in (0, 2)]
        found += [exact[1].abs().amax(-1) / size / net.a[:, 0, 0].clamp(min=1)]
        found += [torch.where((pre <= 0).any(-1).any(-1), torch.inf, 0.0)]
        found += [make.norm(D).square() / net.largest]
        error = make.square((D @ W) @ X - X).sqrt()
        found += [error / (start * (torch.exp(-net.rate * time) + 1e-7))]
        found += [make.square(D) / (time / 2 * make.square(X) + 1e-9)]
        found += [make.largest(make.outside(torch.relu(pre), R)) / (1e-8 * make.largest(pre))]
    return make.ratios(*found, slack=1e-6)


def _stay_extremal() -> Sides:
    """One direction, small weights: the decoder's norm goes to 1, all that the even case allows."""
    w = make.matrix([[0.05], [-0.05]])[None]
    G, h = torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), 0.1).double()
    return make.one(make.norm(linear_flow(w, w.mT * 0, G, h)[-1][1])[0] ** 2, 1.0)


statement(
    "gates-stay-open",
    "Theorem 14.6",
    "X1 = 0, D(0) = 0, βᵀWX = 0, aβ_i > ‖x_j‖√(‖w_i‖² + 1 + ‖X‖_F/s_r): all gates stay open",
    lambda seed, count: _stay(seed, count, even=seed % 3 == 0),
    {
        "points that sum to zero": lambda: _stay(2, 20, sums_to_zero=False),
        "the biases cancel": lambda: _stay(2, 20, mirrored=False),
        "a bias of that size": lambda: _stay(2, 20, enough=0.05),
    },
    _stay_extremal,
)

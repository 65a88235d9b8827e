"""Chapter 15, Non-negative initialisation. Loss L = ‖D relu(WX) − X‖_F² throughout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement

Point = tuple[Tensor, Tensor, Tensor]  # W (h, m), D (m, h), X (m, n)
Loss = Callable[[Tensor, Point], Tensor]


def _loss(theta: Tensor, like: Point, sigma: Callable[[Tensor], Tensor] = torch.relu) -> Tensor:
    W, D, X = like
    Y = sigma(theta[: W.numel()].view_as(W) @ X)
    return (theta[W.numel() :].view_as(D) @ Y - X).square().sum()


_tanh_loss = partial(_loss, sigma=torch.tanh)


def _derivatives(point: Point, loss: Loss = _loss) -> tuple[Tensor, Tensor]:
    """Gradient (2hm,) and Hessian by (W, D)."""
    theta = torch.cat([point[0].flatten(), point[1].flatten()])
    g = torch.func.grad(loss)(theta, point)
    return g, torch.func.jacrev(torch.func.grad(loss))(theta, point)


def _direction(W: Tensor, D: Tensor, A: Tensor) -> Tensor:
    """(AW, −DA) as one vector; A (h, h)."""
    return torch.cat([(A @ W).flatten(), -(D @ A).flatten()])


def _points(seed: int, count: int, positive: bool = False) -> list[Point]:
    m, h, n = make.shape(seed, m=(1, 4), h=(1, 3), n=(1, 6))
    W, D = make.gaussian(seed, "W", count, h, m), make.gaussian(seed, "D", count, m, h)
    X = make.gaussian(seed, "X", count, m, n)
    if positive:
        W, X = W.abs() + 0.1, X.abs() + 0.1
    return list(zip(W, D, X, strict=True))


def _stack(pairs: list[tuple[Tensor, Tensor]]) -> Sides:
    left, right = zip(*pairs, strict=True)
    return Sides(torch.stack(left).double(), torch.stack(right).double())


def _scaled_gradient(point: Point, loss: Loss = _loss) -> tuple[Tensor, Tensor]:
    """Of the first unit ‖H v − (−g_W, g_D)‖, and v·Hv against −2⟨W, g_W⟩ and −2⟨D, g_D⟩."""
    W, D, _ = point
    g, H = _derivatives(point, loss)
    E = torch.zeros(len(W), len(W), dtype=W.dtype)
    E[0, 0] = 1
    gW, gD = g[: W.numel()].view_as(W), g[W.numel() :].view_as(D)
    v, expected = _direction(W, D, E), -_direction(gW, gD, E)
    slopes = torch.stack([W[0] @ gW[0], D[:, 0] @ gD[:, 0]])
    off = torch.stack([(H @ v - expected).norm(), (v @ H @ v + 2 * slopes).abs().amax()])
    size = 1 + torch.linalg.vector_norm(H) * (1 + W.square().sum() + D.square().sum())
    return off.amax() / size, torch.tensor(ROUNDING)


statement(
    "rescaling-direction",
    "Lemma 15.2",
    "v_i = (W_i, −D_i): H v_i = (−g_{W_i}, g_{D_i}), and v_iᵀH v_i = −2⟨W_i, g_{W_i}⟩",
    lambda seed, count: _stack([_scaled_gradient(p) for p in _points(seed, count)]),
    {
        "positively homogeneous": lambda: _stack(
            [_scaled_gradient(p, _tanh_loss) for p in _points(3, 5)]
        )
    },
    form="identity",
)


def _one_unit(seed: int, count: int) -> list[Point]:
    """Critical points: h units that share one positive direction u with X = s u vᵀ + …, exactly.

    W_i = a_i u, D_i = b_i u with Σ a_i b_i = 1, u the leading left singular vector of X > 0:
    the output is u uᵀX and the gradient vanishes, since uᵀ(uuᵀX − X) = 0 and (uuᵀX − X)Xᵀu = 0.
    """
    found = []
    for _, _, X in _points(seed, count, positive=True):
        h = make.shape(seed, units=(1, 3))[0]
        u = torch.linalg.svd(X).U[:, 0].abs()
        a = make.uniform(seed, "a", 0.5, 2, h)
        b = make.uniform(seed, "b", 0.5, 2, h)
        b = b / (a @ b)
        found.append((a[:, None] * u, u[:, None] * b, X))
    return found


def _zeros(H: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(H)
    return (values.abs() <= ROUNDING * values.abs().max()).sum()


def _alive(point: Point, dead: int = 1) -> tuple[Tensor, Tensor]:
    """Left: zero eigenvalues that are owed, with ``dead`` units added. Right: those found."""
    W, D, X = point
    m, h = len(X), len(W)
    W = torch.cat([W, -torch.ones(dead, m, dtype=W.dtype)])
    D = torch.cat([D, torch.ones(m, dead, dtype=D.dtype)], 1)
    _, H = _derivatives((W, D, X))
    return torch.tensor(h + 2 * m * dead), _zeros(H)


def _exactly_one_zero() -> Sides:
    """m = h = 1, X = 1: L = (dw − 1)², zero eigenvalues at dw = 1: one."""
    one = make.eye(1)
    return _stack([_alive((one, one, one), dead=0)])


def _not_critical() -> Sides:
    two = 2 * make.eye(1)
    return _stack([_alive((two, two, two / 2), dead=0)])


statement(
    "no-positive-determinant",
    "Theorem 15.3",
    "critical point: Hessian of the loss has a zero eigenvalue per unit, 2m per dead unit",
    lambda seed, count: _stack([_alive(p) for p in _one_unit(seed, count)]),
    {"critical point": _not_critical},
    _exactly_one_zero,
)


def _many_units(seed: int, count: int) -> list[Point]:
    """Critical points with W of rank h and WX > 0: DW projects on h singular directions of X > 0.

    The first of them, of one sign, is always among them, and weighs most in every unit.
    """
    found = []
    for _, _, X in _points(seed, count, positive=True):
        U = torch.linalg.svd(X, full_matrices=False).U
        first = U[:, :1] * torch.sign(U[:1, :1])
        chosen = torch.cat([first, U[:, 1:].flip(-1)[:, : seed % 3]], 1)  # not always the leading
        h = chosen.shape[1]
        C = make.gaussian(seed, "C", h, h)
        lead, rest = (
            (first.mT @ X).min(),
            (C[:, 1:] @ chosen[:, 1:].mT @ X).abs().max() if h > 1 else 0,
        )
        C[:, 0] = C[:, 0].abs() + 0.1 + 2 * rest / lead
        found.append((C @ chosen.mT, chosen @ torch.linalg.inv(C), X))
    return found


def _mixed(point: Point, rank: bool = True) -> tuple[Tensor, Tensor]:
    """‖H(AW, −DA)‖ for a random A. rank: also, whether the directions are h² independent ones."""
    W, D, _ = point
    h = len(W)
    g, H = _derivatives(point)
    off = (H @ _direction(W, D, make.gaussian(h, "A", h, h))).norm() / (1 + H.norm())
    units = torch.eye(h * h, dtype=W.dtype).view(h * h, h, h)
    directions = torch.stack([_direction(W, D, E) for E in units])
    few = rank and (make.count_rank(directions) < h * h or _zeros(H) < h * h)
    assert g.norm() <= 1e-8 * (1 + H.norm()), "not critical"
    return torch.tensor(1.0) if few else off, torch.tensor(ROUNDING)


def _critical(seed: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """Units of independent weights in every second shape, else units that share one direction."""
    full = bool(seed % 2)
    points = _many_units(seed, count) if full else _one_unit(seed, count)
    return [_mixed(p, full) for p in points]


def _shared_direction() -> Sides:
    """Two units with one direction: W has rank 1, and AW = 0 for some A ≠ 0."""
    u, a = make.matrix([[1.0], [0.0]]), make.matrix([[1.0], [2.0]])
    W, D, X = a @ u.mT, u @ make.matrix([[1.0, 0.0]]), u @ make.matrix([[1.0, 2.0]])
    return _stack([_mixed((W, D, X))])


def _with_negatives() -> Sides:
    """X = (1, −1), W = (1, −1)ᵀ, D = (1, −1): exact, critical, each unit active at one point."""
    eye = make.eye(1)
    W, D = torch.cat([eye, -eye]), torch.cat([eye, -eye], 1)
    X = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    _, H = _derivatives((W, D, X))
    A = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    return _stack([((H @ _direction(W, D, A)).norm(), torch.tensor(ROUNDING))])


statement(
    "flat-where-idle",
    "Theorem 15.4",
    "critical point, WX > 0: H(AW, −DA) = 0 for every A, so h² zeros when W has rank h",
    lambda seed, count: _stack(_critical(seed, count)),
    {"all pre-activations positive": _with_negatives, "W of rank h": _shared_direction},
    form="identity",
)


def _overshoot_sides(point: Point) -> tuple[Tensor, Tensor]:
    """Left: 2‖DY‖(‖DY‖ − ‖X‖). Right: ‖D‖_F‖g_D‖, and NaN unless H has a negative eigenvalue."""
    W, D, X = point
    g, H = _derivatives(point)
    out = D @ torch.relu(W @ X)
    left = 2 * out.norm() * (out.norm() - X.norm())
    right = D.norm() * g[W.numel() :].norm() * (1 + 1e-12)
    indefinite = torch.linalg.eigvalsh(H)[0] < 0
    return left, right if indefinite else torch.tensor(torch.nan, dtype=torch.float64)


def _overshooting(seed: int, count: int) -> list[Point]:
    found = []
    for W, D, X in _points(seed, count):
        out = D @ torch.relu(W @ X)
        if out.norm() > 0:
            found.append((W, D * (1.1 * X.norm() / out.norm() * (1 + D.norm())), X))
    return found


def _overshoot(seed: int, count: int) -> Sides:
    points = _overshooting(seed, count)
    if not points:
        return make.nothing()
    return _stack([_overshoot_sides(p) for p in points])


def _overshoot_extremal() -> Sides:
    """One number: x = w = 1, d = 2. ‖DY‖ = 2, g_D = 2, ‖D‖ = 2: 4 on both sides."""
    one = make.eye(1)
    return _stack([_overshoot_sides((one, 2 * one, one))])


def _no_overshoot() -> Sides:
    """At dw = 1 the Hessian of (dw − 1)² has no negative eigenvalue."""
    one = make.eye(1)
    _, H = _derivatives((one, one, one))
    negative = bool(torch.linalg.eigvalsh(H)[0] < -ROUNDING)
    return make.flags(torch.tensor([not negative]))


statement(
    "overshoot",
    "Proposition 15.5",
    "‖DY‖_F > ‖X‖_F ⇒ ‖D‖_F‖g_D‖_F ≥ 2‖DY‖(‖DY‖ − ‖X‖) and H has a negative eigenvalue",
    _overshoot,
    {"the output is larger than the data": _no_overshoot},
    _overshoot_extremal,
)


def _readout(point: Point, also: str = "D") -> tuple[Tensor, Tensor]:
    """Hessian by D (or by W) against 2 I_m ⊗ YYᵀ; 1 where it is definite and rank Y < h, or not
    and rank Y = h. Ranks are counted from the singular values of Y, definiteness from H alone.
    """
    W, _, X = point
    _, H = _derivatives(point)
    Y = torch.relu(W @ X)
    eye = torch.eye(len(X), dtype=X.dtype)
    cut = W.numel()
    part = H[cut:, cut:] if also == "D" else H[:cut, :cut]
    expected = 2 * torch.kron(eye, Y @ Y.mT)
    full = bool((torch.linalg.svdvals(Y) > 1e-7).sum() == len(W))
    definite = bool(torch.linalg.eigvalsh(part)[0] > 1e-13)
    off = (part - expected).norm() / (1 + H.norm())
    return torch.tensor(1.0) if full != definite else off, torch.tensor(ROUNDING)


statement(
    "readout-alone",
    "Proposition 15.6",
    "W fixed: the Hessian by D is 2 I_m ⊗ YYᵀ at every D, positive definite iff rank Y = h",
    lambda seed, count: _stack([_readout(p) for p in _points(seed, count)]),
    {"W is fixed": lambda: _stack([_readout(p, "W") for p in _points(5, 5)])},
    form="identity",
)


def _encoder(point: Point, whole: bool = False, loss: Loss = _loss) -> tuple[Tensor, Tensor]:
    """Hessian by W against 2(DᵀD)_{ik} Σ_j G_ij G_kj x_j x_jᵀ; 1 where it is not semidefinite, is
    definite although a unit is open at points that do not span, or where all gates are open
    and definite is not the same as rank D = h and rank X = m. whole: the Hessian by (W, D).
    """
    W, D, X = point
    h, m = W.shape
    _, H = _derivatives(point, loss)
    part = H if whole else H[: h * m, : h * m]
    G = (W @ X > 0).to(X)
    blocks = 2 * torch.einsum("ij,kj,aj,bj->ikab", G, G, X, X) * (D.mT @ D)[..., None, None]
    expected = blocks.permute(0, 2, 1, 3).reshape(h * m, h * m)
    values = torch.linalg.eigvalsh(part)
    definite = bool(values[0] > 1e-12 * values[-1]) and bool(values[-1] > 0)
    spans = all(int(make.count_rank(X * g)) == m for g in G)
    full = int(make.count_rank(D)) == h and int(make.count_rank(X)) == m
    wrong = bool(values[0] < -ROUNDING * values.abs().max()) or (definite and not spans)
    wrong |= bool(G.all()) and definite != full
    off = 0 * W[0, 0] if whole else (part - expected).norm() / (1 + H.norm())
    return torch.tensor(1.0) if wrong else off, torch.tensor(ROUNDING)


def _encoders(seed: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """All gates open in every third shape."""
    return [_encoder(p) for p in _points(seed, count, positive=seed % 3 == 0)]


statement(
    "encoder-alone",
    "Proposition 15.7",
    "D fixed: the Hessian by W is semidefinite at every W; with all gates open 2 DᵀD ⊗ XXᵀ",
    lambda seed, count: _stack(_encoders(seed, count)),
    {
        "D is fixed": lambda: _stack([_encoder(p, whole=True) for p in _points(5, 5)]),
        "piecewise linear": lambda: _stack([_encoder(p, loss=_tanh_loss) for p in _points(5, 5)]),
    },
    form="identity",
)


def _dead(point: Point, alive: bool = False) -> tuple[Tensor, Tensor]:
    W, D, X = point
    W, X = (1 if alive else -1) * W.abs() - (0 if alive else 0.1), X.abs() + 0.1
    g, H = _derivatives((W, D, X))
    loss = _loss(torch.cat([W.flatten(), D.flatten()]), (W, D, X))
    off = (loss - X.square().sum()).abs() / X.square().sum()
    return g.norm() + H.norm() + off, torch.tensor(ROUNDING)


statement(
    "dead-network",
    "Proposition 15.8",
    "all pre-activations negative: gradient and Hessian are zero and the loss is ‖X‖²",
    lambda seed, count: _stack([_dead(p) for p in _points(seed, count)]),
    {"every unit dead": lambda: _stack([_dead(p, True) for p in _points(5, 5)])},
    form="identity",
)


def _two_values(x: Tensor, low: float, high: float, chance: float) -> tuple[Tensor, Tensor]:
    """P(wᵀx ≤ 0) for independent w_i = low (with ``chance``) or high, by enumeration; the bound."""
    total = torch.tensor(0.0, dtype=torch.float64)
    for ones in product((0, 1), repeat=len(x)):
        picked = torch.tensor(ones, dtype=torch.bool)
        w = torch.where(picked, high, low).double()
        if w @ x <= 0:
            count = int(picked.sum())
            total = total + (1 - chance) ** count * chance ** (len(x) - count)
    mean = chance * low + (1 - chance) * high
    variance = chance * (1 - chance) * (high - low) ** 2
    spread, centre = variance * x.square().sum(), (mean * x.sum()) ** 2
    return total, spread / (spread + centre) * (1 + 1e-12)


def _agree(seed: int, count: int) -> Sides:
    (m,) = make.shape(seed, terms=(2, 8))
    X = make.gaussian(seed, "x", count, m)
    X = X * torch.where(X.sum(-1, keepdim=True) < 0, -1.0, 1.0)
    low, chance = make.uniform(seed, "low", -1, 0.5, 1), make.uniform(seed, "q", 0.2, 0.45, 1)
    return _stack([_two_values(x, float(low), 1.0, float(chance)) for x in X])


def _cantelli_extremal() -> Sides:
    """One coordinate x = 2, w = 0 with probability q: both sides are q, whatever x is."""
    return _stack([_two_values(make.vector(2), 0.0, 1.0, 0.3)])


def _no_mean() -> Sides:
    """w = −1 or 0 with mean −0.1, x = 1: never positive, but the formula says less than one."""
    return _stack([_two_values(make.vector(1), -1.0, 0.0, 0.1)])


statement(
    "mean-decides-the-sign",
    "Proposition 15.1",
    "independent weights, mean μ > 0, variance v, 1ᵀx > 0: P(wᵀx ≤ 0) ≤ v‖x‖²/(v‖x‖² + μ²(1ᵀx)²)",
    _agree,
    {"the mean is positive": _no_mean},
    _cantelli_extremal,
)

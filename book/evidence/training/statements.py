"""Chapter 13, Does training find it?"""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis, row_projector
from subspace_lib.rowspace import singular_value

Weights = tuple[Tensor, Tensor, Tensor]  # W (c, p, m), b (c, p), D (c, m, p)


def _network(seed: int, count: int) -> tuple[Weights, Tensor]:
    """One hidden layer with biases, and data X (c, m, n)."""
    m, p, n = make.shape(seed, m=(1, 6), p=(1, 6), n=(1, 12))
    W, D = make.gaussian(seed, "W", count, p, m), make.gaussian(seed, "D", count, m, p)
    return (W, make.gaussian(seed, "b", count, p), D), make.gaussian(seed, "X", count, m, n)


def _output(weights: Weights, X: Tensor, negative: float = 0.0) -> Tensor:
    """D σ(WX + b1ᵀ); ``negative`` is the value of σ(a)/a for a < 0."""
    W, b, D = weights
    A = W @ X + b[..., None]
    return D @ torch.where(A > 0, A, negative * A)


def _rescaled(seed: int, count: int) -> Sides:
    weights, X = _network(seed, count)
    c = make.log_uniform(seed, "c", -2, 2, *weights[1].shape)
    W, b, D = weights
    other = _output((W * c[..., None], b * c, D / c[:, None, :]), X)
    same = _output(weights, X)
    size = 1 + make.largest(D.abs() @ (W.abs() @ X.abs() + b.abs()[..., None]))
    return make.rounding(make.largest(other - same) / size)


def _rescaled_tanh() -> Sides:
    """tanh is not positively homogeneous."""
    a = torch.tensor(1.0, dtype=torch.float64)
    return make.one((torch.tanh(2 * a) / 2 - torch.tanh(a)).abs(), ROUNDING)


def _rescaled_negative() -> Sides:
    """c = −1 turns relu(a) into −relu(−a)."""
    return make.one(abs(-max(-1.0, 0.0) - max(1.0, 0.0)), ROUNDING)


statement(
    "rescaling",
    "Proposition 13.1",
    "(W_i, b_i, D_i) → (c_iW_i, c_ib_i, D_i/c_i), c_i > 0, leaves D relu(WX + b1ᵀ) as it is",
    _rescaled,
    {"positively homogeneous": _rescaled_tanh, "c > 0": _rescaled_negative},
    form="identity",
)


def _two_scales(big: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
    """P_1 of Y = diag(big, small) and of diag(small, big), and the outputs of both networks."""
    first = torch.diag_embed(torch.stack([big, small], -1))
    second = first.flip((-2, -1))
    distance = make.norm(row_projector(first, 1) - row_projector(second, 1))
    outputs = [torch.linalg.inv(Y) @ torch.relu(Y) for Y in (first, second)]
    return (1 - distance).abs(), make.largest(outputs[0] - outputs[1])


def _loss_is_blind(seed: int, count: int) -> Sides:
    small = make.log_uniform(seed, "small", -2, 0, count)
    distance, outputs = _two_scales(small * make.uniform(seed, "big", 1.1, 9, count), small)
    return make.rounding(torch.maximum(distance, outputs))


def _no_second_scale() -> Sides:
    """At the full rank 2 the two networks have the same row space."""
    Y = make.matrix([[2, 0], [0, 1]])
    distance = make.norm(row_projector(Y, 2) - row_projector(Y.flip((-2, -1)), 2))
    return make.one(abs(1 - float(distance)), ROUNDING)


statement(
    "one-function-two-projectors",
    "Counterexample 13.2",
    "X = I₂: one function, W = diag(2, 1) or diag(1, 2), ‖P₁(Y) − P₁(Y')‖ = 1",
    _loss_is_blind,
    {"rank below the width": _no_second_scale},
    form="identity",
)


def _gradients(weights: Weights, X: Tensor, negative: float = 0.0) -> Weights:
    leaves = [w.clone().requires_grad_() for w in weights]
    loss = (_output((leaves[0], leaves[1], leaves[2]), X, negative) - X).square().sum()
    W, b, D = torch.autograd.grad(loss, leaves)
    return W, b, D


def _balance(W: Tensor, b: Tensor, D: Tensor) -> Tensor:
    return W.square().sum(-1) + b.square() - D.square().sum(-2)


def _balance_sides(weights: Weights, X: Tensor, keep_bias: bool = True) -> Sides:
    """The change of the balance in one step against lr² times the balance of the gradients."""
    lr, grads = 0.01, _gradients(weights, X)
    moved = [w - lr * g for w, g in zip(weights, grads, strict=True)]
    if not keep_bias:
        moved[1] = weights[1]
    change = _balance(*moved) - _balance(*weights)
    expected = lr**2 * _balance(*grads)
    size = 1 + sum(w.flatten(1).square().sum(1) for w in moved)
    return make.rounding((change - expected).abs().amax(-1) / size)


def _balance_frozen() -> Sides:
    """Training W and D but not b breaks the balance already at first order."""
    weights, X = _network(1, 1)
    return _balance_sides(weights, X, keep_bias=False)


statement(
    "balance",
    "Proposition 13.3",
    "one step changes ‖W_i‖² + b_i² − ‖D_i‖² by exactly lr²(‖g_W‖² + g_b² − ‖g_D‖²)",
    lambda seed, count: _balance_sides(*_network(seed, count)),
    {"all three are trained": _balance_frozen},
    form="identity",
)


def _linear(seed: int, count: int, optimal: bool = True) -> Sides:
    """W = A⁻¹U_pᵀ, D = U_pA: P_p of WX against that of X for any A, P_q too for orthogonal A.

    That these are minimisers is not assumed: alternating least squares from another start, which
    knows nothing of this form, must not come below their loss.
    """
    m, extra = make.shape(seed, m=(2, 7), extra=(0, 8))
    (p,) = make.shape(seed, p=(1, m - 1))
    (q,) = make.shape(seed, q=(1, p))
    steps = make.uniform(seed, "steps", 0.2, 1, count, m)
    spectrum = steps.flip(-1).cumsum(-1).flip(-1)  # gaps of 0.2 at least
    X = make.with_spectrum(seed, "X", m, m + extra, spectrum)
    U = torch.linalg.svd(X, full_matrices=False).U[..., :p]
    A = make.orthonormal(seed, "A", count, p, p)
    if not optimal:
        U = make.orthonormal(seed, "U", count, m, p)
    W, G = A.mT @ U.mT, make.gaussian(seed, "G", count, p, p) + 4 * A
    unbalanced = torch.linalg.solve(G, U.mT)
    rows = make.norm(row_projector(unbalanced @ X, p) - row_projector(X, p))
    inner = make.norm(row_projector(W @ X, q) - row_projector(X, q))
    loss = make.square(((U @ G) @ unbalanced) @ X - X)
    D, rival = make.gaussian(seed, "D", count, m, p), loss
    for _ in range(6):
        free = torch.linalg.pinv(D)
        D = X @ torch.linalg.pinv(free @ X)
        rival = torch.minimum(rival, make.square(D @ free @ X - X))
    better = (loss - rival) / make.square(X)
    return make.rounding(torch.stack([rows, inner, better]).amax(0))


def _other_minimum() -> Sides:
    """W = diag(1, 9), X = diag(2, 1): a minimiser, not balanced, and P_1 is exchanged."""
    X, W = make.matrix([[2, 0], [0, 1]]), make.matrix([[1, 0], [0, 9]])
    return make.one(make.norm(row_projector(W @ X, 1) - row_projector(X, 1)), ROUNDING)


statement(
    "linear-autoencoder",
    "Theorem 13.4",
    "minimisers of ‖DWX − X‖_F: P_p(WX) = P_p(X); balanced ones: P_q(WX) = P_q(X) for q ≤ p",
    _linear,
    {"balanced": _other_minimum, "a minimiser": lambda: _linear(3, 5, optimal=False)},
    form="identity",
)


def _pairs(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Data in opposite pairs (c, m, 2n), W (c, p, m), b (c, p), and a rank."""
    m, p, n = make.shape(seed, m=(1, 6), p=(1, 8), n=(1, 8))
    (r,) = make.shape(seed, r=(1, min(m, p, n)))
    X = make.gaussian(seed, "X", count, m, n)
    W, b = make.gaussian(seed, "W", count, p, m), 2 * make.gaussian(seed, "b", count, p)
    return torch.cat([X, -X], -1), W, b, r


def _third_link(A: Tensor, Y: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """δ₃ = s_r(Y) − s_{r+1}(A) and ‖Y − A‖."""
    return singular_value(Y, r) - singular_value(A, r + 1), make.norm(Y - A)


def _symmetric(seed: int, count: int) -> Sides:
    """δ₃ ≤ ‖Y − WX‖, with ‖Y‖ = ‖Y − WX‖ and half of the energy as identities beside it."""
    X, W, _, r = _pairs(seed, count)
    A, Y = W @ X, torch.relu(W @ X)
    gap, error = _third_link(A, Y, r)
    half = (make.square(Y - A) / make.square(A) - 0.5).abs()
    equal = (make.norm(Y) / error - 1).abs()
    wrong = torch.maximum(half, equal) > ROUNDING
    return Sides(torch.where(wrong, torch.inf, gap), error * (1 + ROUNDING))


def _symmetric_extremal() -> Sides:
    """A = (1, −1): Y = (1, 0), Y − A = (0, 1)."""
    A = make.matrix([[1, -1]])
    gap, error = _third_link(A[None], torch.relu(A)[None], 1)
    return make.one(gap, error)


def _positive_data() -> Sides:
    """All pre-activations positive: no error at all, and a gap."""
    A = make.matrix([[1, 1]])
    gap, error = _third_link(A[None], torch.relu(A)[None], 1)
    return make.one(gap, error)


def _with_bias_no_link() -> Sides:
    """One unit with b = a: Y = (2a, 0) and Y − WX = (a, a); the bias gains a factor √2."""
    A = make.matrix([[1, -1]])
    gap, error = _third_link(A[None], torch.relu(A + 1)[None], 1)
    return make.one(gap, error)


statement(
    "opposite-pairs",
    "Proposition 13.5",
    "points in opposite pairs, no bias: ‖Y − WX‖ = ‖Y‖ ≥ δ₃ for every W",
    _symmetric,
    {"opposite pairs": _positive_data, "no bias": _with_bias_no_link},
    _symmetric_extremal,
)


def _symmetric_biased(seed: int, count: int) -> Sides:
    """δ₃ ≤ s_r(Y), the bound on s_r(Y), and ‖Y‖_F² ≤ 2‖Y − WX‖_F² that it comes from."""
    X, W, b, r = _pairs(seed, count)
    A = W @ X
    Y = torch.relu(A + b[..., None])
    gap, error = _third_link(A, Y, r)
    least = singular_value(Y, r)
    return make.worst(
        (gap.clamp(min=0), least),
        (least, (2 * min(A.shape[-2:]) / r) ** 0.5 * error),
        (make.square(Y), 2 * make.square(Y - A) * (1 + ROUNDING)),
    )


def _biased_extremal() -> Sides:
    """p = r = 1, b = a: s_1(Y) = 2a and ‖Y − WX‖ = √2a."""
    sides = _with_bias_no_link()
    return make.one(sides.left[0], 2**0.5 * sides.right[0])


statement(
    "opposite-pairs-biased",
    "Theorem 13.6",
    "points in opposite pairs: δ₃ ≤ √(2 min(p, n)/r) ‖Y − WX‖ for every W and b",
    _symmetric_biased,
    {"opposite pairs": _positive_data},
    _biased_extremal,
)


def patterns(X: Tensor) -> int:
    """Number of sign vectors of wᵀX over all w without a zero; X: (d, n) in general position.

    Every cell of the arrangement touches a line on which d − 1 of the points vanish; beside that
    line their signs are free, and those of the others are fixed.
    """
    d, n = X.shape
    if n < d:
        return 2**n
    found = set()
    for chosen in combinations(range(n), d - 1):
        w = torch.linalg.svd(X[:, chosen].mT, full_matrices=True).Vh[-1]  # ⟂ to the chosen ones
        sides = (w @ X > 0).tolist()
        for free in product((False, True), repeat=d - 1):
            for j, sign in zip(chosen, free, strict=True):
                sides[j] = sign
            found |= {tuple(sides), tuple(not s for s in sides)}
    return len(found)


def cover(n: int, d: int) -> int:
    """2 Σ_{i<d} C(n − 1, i)."""
    return 2 * sum(comb(n - 1, i) for i in range(d))


def _wendel(seed: int, count: int) -> Sides:
    d, n = make.shape(seed, d=(1, 3), n=(1, 6))
    X = make.gaussian(seed, "X", count, d, n)
    wrong = torch.tensor([patterns(x) != cover(n, d) for x in X])
    return make.flags(wrong)


def _parallel() -> Sides:
    """Two points on one line always fall on fixed sides of each other: fewer patterns."""
    X = make.matrix([[1, 2, 0], [0, 0, 1]])
    signs = {tuple((w @ X > 0).tolist()) for w in make.gaussian(0, "w", 400, 2)}
    return make.one(abs(len(signs) - cover(3, 2)), 0.0)


statement(
    "sign-patterns",
    "Proposition 13.7",
    "n points of R^d in general position: C(n, d) = 2 Σ_{i<d} C(n−1, i) sign patterns",
    _wendel,
    {"general position": _parallel},
    form="identity",
)


def _one_direction(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """V* (c, r, n) and R ⊃ V* with one row more; the top r and r + 1 right vectors of some Y."""
    r, more, p = make.shape(seed, r=(1, 5), more=(2, 8), p=(1, 6))
    n = r + more
    R = make.orthonormal(seed, "R", count, n, r + 1).mT
    strength = make.log_uniform(seed, "strength", -1, 1, count, 1, r + 1)
    left = make.gaussian(seed, "left", count, r + p, r + 1) * strength
    size = make.log_uniform(seed, "size", -3, 0, count, 1, 1)
    Y = left @ R + size * make.gaussian(seed, "rest", count, r + p, n)
    return R[:, :r], R, row_basis(Y, r), row_basis(Y, r + 1)


def _share_sides(V: Tensor, R: Tensor, top: Tensor, more: Tensor) -> Sides:
    """Shortfalls 1 − share_{r+1} and 1 − share_r against β² and 1/r + β²."""
    r = V.shape[-2]
    beta, rest = make.norm(make.outside(R, more)).square(), 1e-12
    lost, less = (1 - make.share(V, B) for B in (more, top))
    # the squared Frobenius distance is 2r(1 − share_r)
    square = torch.linalg.matrix_norm(V.mT @ V - top.mT @ top).square()
    allowed = 2 + 2 * r * beta + rest
    return make.ratios(lost / (beta + rest), less / (beta + 1 / r + rest), square / allowed)


def _share_extremal() -> Sides:
    """Y = diag(2, 1), X* along the second axis: all of share_1 is lost, none of share_2."""
    eye = make.eye(2)
    return _share_sides(eye[None, 1:], eye[None], eye[None, :1], eye[None])


def _reference_elsewhere() -> Sides:
    """R is kept, and X* is not in it: nothing follows."""
    eye = make.eye(3)
    return _share_sides(eye[None, 2:], eye[None, :2], eye[None, :1], eye[None, :2])


statement(
    "one-direction-lost",
    "Theorem 13.8",
    "‖(I − P_{r+1}(Y))Rᵀ‖ ≤ β, R = row(X*) + one row ⇒ share_r ≥ (r−1)/r − β²",
    lambda seed, count: _share_sides(*_one_direction(seed, count)),
    {"row(X*) inside the reference": _reference_elsewhere},
    _share_extremal,
)


def _curvature(seed: int, count: int, curved: bool = False) -> Sides:
    """Second difference of the loss along (dW_i, db_i) against 2‖D_i‖² ‖(dW_i, db_i)X̃‖²."""
    (W, b, D), X = _network(seed, count)
    i = 0
    w, beta = make.gaussian(seed, "w", count, W.shape[-1]), make.gaussian(seed, "β", count)
    A = W @ X + b[..., None]

    def loss(t: float) -> Tensor:
        shift = torch.zeros_like(A)
        shift[:, i] = t * ((w[:, None] @ X)[:, 0] + beta[:, None])
        active = (A + shift > 0) if curved else (A > 0)
        return (D @ ((A + shift) * active) - X).square().sum((-2, -1))

    step = 1.0  # of a quadratic the second difference is exact at any step
    second = loss(step) - 2 * loss(0.0) + loss(-step)
    moved = ((w[:, None] @ X)[:, 0] + beta[:, None]) * (A[:, i] > 0)
    expected = 2 * D[..., i].square().sum(-1) * moved.square().sum(-1)
    return make.rounding((second - expected).abs() / (1 + loss(step) + loss(-step)))


statement(
    "bias-as-a-feature",
    "Proposition 13.9",
    "fixed activity: the Hessian by (W_i, b_i) is 2‖D_i‖² X̃X̃ᵀ of the active points",
    _curvature,
    {"fixed activity": lambda: _curvature(5, 20, curved=True)},
    form="identity",
)


def _clean_pairs(
    seed: int, count: int, paired: bool = True, negative: bool = False, idle: bool = False
) -> Sides:
    """½‖WX*‖_F² against ‖Y − WX*‖_F², and δ₂ against 2√(2 min(p, n)/r) · the larger error."""
    m, p, half = make.shape(seed, m=(1, 6), p=(1, 8), half=(1, 8))
    (r,) = make.shape(seed, r=(1, min(m, p, half)))
    X0 = make.with_spectrum(
        seed, "X", m, half, make.spectrum(seed, "spectrum", -0.5, 0.5, count, r)
    )
    star = torch.cat([X0, -X0 if paired else X0], -1)
    noise = make.log_uniform(seed, "noise", -6, 1, count, 1, 1)
    Z = 0 if idle else noise * make.gaussian(seed, "Z", *star.shape)
    W, b = make.gaussian(seed, "W", count, p, m), make.gaussian(seed, "b", count, p)
    if idle:  # W ≥ 0 on data that are not in pairs, or outputs with a sign
        star, W = (star.abs(), W.abs()) if not negative else (star, W)
    WX, image = W @ (star + Z), W @ star
    kind = seed % 3  # a bias, the nearest Y without a negative entry, or any such Y
    Y = torch.relu(WX + b[..., None]) if kind == 0 else torch.relu(image)
    Y = make.gaussian(seed, "Y", *image.shape).abs() if kind == 2 else Y
    Y = image if negative else torch.relu(image) if idle else Y
    gap = singular_value(image, r) - singular_value(WX, r + 1)
    error = torch.maximum(make.norm(Y - WX), make.norm(WX - image))
    allowed = 2 * (2 * min(image.shape[-2:]) / r) ** 0.5 * error
    return make.worst(
        (make.square(image) / 2, make.square(Y - image) * (1 + ROUNDING)),
        (gap.clamp(min=0), allowed * (1 + ROUNDING)),
    )


def _clean_pairs_extremal() -> Sides:
    """(1, −1) and the nearest row without a negative entry, (1, 0): one against ½ · 2."""
    image = make.matrix([[1, -1]])
    return make.one(make.square(image) / 2, make.square(torch.relu(image) - image))


statement(
    "clean-pairs",
    "Theorem 13.10",
    "X* in opposite pairs, any Z, W and Y ≥ 0: ‖Y − WX*‖_F² ≥ ½‖WX*‖_F², δ₂ ≤ 2√(2 min(p,n)/r) max",
    _clean_pairs,
    {
        "clean points in pairs": lambda: _clean_pairs(2, 20, paired=False, idle=True),
        "no negative entry in Y": lambda: _clean_pairs(2, 20, negative=True, idle=True),
    },
    _clean_pairs_extremal,
)

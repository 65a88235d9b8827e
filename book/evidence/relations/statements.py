"""Chapter 27, Relations."""

from __future__ import annotations

import torch
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.relations.measures import neural_collapse
from evidence.statement import Sides, statement
from subspace_lib.projectors import row_basis
from subspace_lib.rowspace import singular_value


def _kept(Y: Tensor, V: Tensor, L: Tensor, q: int, deviation: Tensor | None = None) -> Sides:
    """(a) σ_{K+1}(YVᵀ) against ‖E‖, (b) √tr(PQ) against √Σa_k + ‖E‖_F/s_q(Y)."""
    E = make.outside(Y, L) if deviation is None else deviation
    heard = singular_value(Y @ V.mT, L.shape[-2] + 1)
    inside = torch.linalg.matrix_norm(L @ V.mT)
    share = torch.linalg.matrix_norm(V @ row_basis(Y, q).mT)
    s_q = torch.linalg.svdvals(Y)[..., q - 1]
    return make.join(
        Sides(heard, make.norm(E) + ROUNDING),
        Sides(share, inside + torch.linalg.matrix_norm(E) / s_q + ROUNDING),
    )


def _exact(M: Tensor, V: Tensor, L: Tensor) -> Sides:
    """(c) for Y = ML: tr(PQ) against Σa_k, equal where M has rank K; and how many directions of P
    are not orthogonal to row(Y), against K.
    """
    K, Y = L.shape[-2], M @ L
    Q = make.row_space(Y)
    shared, inside = make.square(V @ Q.mT), make.square(L @ V.mT)
    if int(make.count_rank(M).min()) == K:
        shared = torch.maximum(shared, 2 * inside - shared)
    reached = (torch.linalg.svdvals(V @ Q.mT) > 1e-7).sum(-1).double()
    return make.worst((shared, inside + ROUNDING), (reached, torch.full_like(reached, K)))


def _kept_random(seed: int, count: int) -> Sides:
    K, p, r = make.shape(seed, K=(1, 3), p=(1, 8), r=(1, 4))
    counts = make.sizes(seed, "n", K, 2, 5)
    half, n = max(1, count // 3), sum(counts)  # each instance gives three conclusions
    L = make.indicators(counts)
    (q,) = make.shape(seed, q=(1, min(p, n)))  # beyond K only the deviations have directions
    V = make.orthonormal(seed, "V", half, n, min(r, n)).mT
    size = make.log_uniform(seed, "size", -3, 1, half, 1, 1)
    M = make.gaussian(seed, "M", half, p, K)
    Y = M @ L + size * make.gaussian(seed, "E", half, p, n)
    return make.join(_kept(Y, V, L, q), _exact(M, V, L))


def _kept_extremal() -> Sides:
    """Exact collapse: the row space of Y is the labels', and all of their share is kept. And for
    (a) a signal orthogonal to one class, Y = V: E = V, and the second value is 1 on both sides.
    """
    L, one = make.indicators([3, 2]), make.indicators([3])
    V = make.orthonormal(0, "V", 1, 5, 3).mT
    M = make.matrix([[1, 0], [1, 1]])[None]
    planes = make.row_space(make.matrix([[1, -1, 0], [0, 1, -1]]))[None]
    heard = singular_value(planes @ planes.mT, 2)
    exact = _kept(M @ L, V, L, 2)
    return make.every(
        Sides(exact.left[1:], exact.right[1:]),
        Sides(heard, make.norm(make.outside(planes, one))),
        _exact(M, V, L),
    )


def _not_exact() -> Sides:
    """(c) of a layer that is not collapsed: Y = V has all of P."""
    L, V = make.indicators([4, 4]), make.orthonormal(0, "V", 1, 8, 4).mT
    shared, inside = make.square(V @ make.row_space(V).mT), make.square(L @ V.mT)
    return Sides(shared, inside)


def _not_collapsed() -> Sides:
    """Y = V keeps all of the signal; its deviations are left out."""
    L, V = make.indicators([4, 4]), make.orthonormal(0, "V", 1, 8, 4).mT
    return _kept(V, V, L, 4, deviation=torch.zeros(1, 4, 8, dtype=torch.float64))


statement(
    "collapse-keeps",
    "Theorem 27.1",
    "σ_{K+1}(YVᵀ) ≤ ‖E‖, √tr(P P_q(Y)) ≤ √Σa_k + ‖E‖_F/s_q(Y); E = 0 ⇒ tr(PQ) ≤ Σa_k",
    _kept_random,
    {"deviations counted": _not_collapsed, "E = 0 in (c)": _not_exact},
    _kept_extremal,
)


def _blind(seed: int, count: int, mix: bool = False) -> Sides:
    """NC1 of Y = [L; V(I − LᵀL)], and what of row(X*) is outside row(Y): both against 0."""
    K, r = make.shape(seed, K=(2, 4), r=(1, 3))
    counts = make.sizes(seed, "n", K, r + 1, 6)
    L = make.indicators(counts)
    half, n = max(1, count // 2), sum(counts)
    V = make.orthonormal(seed, "V", half, n, r).mT
    Y = torch.cat([L.expand(half, -1, -1), make.outside(V, L)], 1)
    if mix:
        Y = make.gaussian(seed, "G", half, Y.shape[1], Y.shape[1]) @ Y
    variability = neural_collapse(Y, make.labels(counts)).variability
    outside = torch.linalg.matrix_norm(make.outside(V, row_basis(Y, K + r)))
    return make.join(make.rounding(variability, ROUNDING), make.rounding(outside, ROUNDING))


statement(
    "collapse-overlooks",
    "Counterexample 27.2",
    "NC1 = 0 and row(X*) ⊂ row(Y)",
    _blind,
    {"deviations orthogonal to the class means": lambda: _blind(0, 4, mix=True)},
    form="identity",
)


def _curvatures(W: Tensor, b: Tensor, D: Tensor, X: Tensor) -> list[Tensor]:
    """‖D relu(WX + b1ᵀ) − X‖_F², the top eigenvalues of its Hessian and of the blocks of (W, b)
    and of D.
    """
    count, size = len(W), W[0].numel()
    rows = b[0].numel()

    def loss(theta: Tensor, x: Tensor) -> Tensor:
        w, d = theta[:size].view(W.shape[1:]), theta[size + rows :].view(D.shape[1:])
        Y = torch.relu(w @ x + theta[size : size + rows, None])
        return (d @ Y - x).square().sum()

    theta = torch.cat([W.reshape(count, -1), b, D.reshape(count, -1)], 1)
    H = torch.func.vmap(torch.func.hessian(loss))(theta, X)
    cut = size + rows
    return [torch.func.vmap(loss)(theta, X)] + [
        torch.linalg.eigvalsh(A)[:, -1] for A in (H, H[:, :cut, :cut], H[:, cut:, cut:])
    ]


def _rescaled(
    W: Tensor, b: Tensor, D: Tensor, X: Tensor, c: Tensor, both: bool = True
) -> tuple[Sides, Sides]:
    """max(c² λ_D, λ_W/c²) against the sharpness after (W, b, D) → (cW, cb, D/c); and the change of
    the loss and of Y/c.
    """
    by = c[:, None, None]
    turned, lifted = (by * W, c[:, None] * b) if both else (W, b)
    # one call: compiling the Hessian takes longest
    found = _curvatures(
        torch.cat([W, turned]), torch.cat([b, lifted]), torch.cat([D, D / by]), torch.cat([X, X])
    )
    loss, _, lam_W, lam_D = (values[: len(c)] for values in found)
    new_loss, sharp = (values[len(c) :] for values in found[:2])
    left = torch.maximum(c.square() * lam_D, lam_W / c.square())
    Y, new_Y = torch.relu(W @ X + b[..., None]), torch.relu(turned @ X + lifted[..., None])
    change = (new_loss - loss).abs() / (1 + loss) + make.norm(new_Y - by * Y) / (
        1 + make.norm(new_Y)
    )
    return Sides(left, sharp * (1 + ROUNDING) + ROUNDING), make.rounding(change, ROUNDING)


def _rescaled_random(seed: int, count: int) -> Sides:
    m, h, n = make.shape(seed, m=(1, 3), h=(1, 3), n=(1, 5))
    half = max(1, count // 2)
    W, D = make.gaussian(seed, "W", half, h, m), make.gaussian(seed, "D", half, m, h)
    b, X = make.gaussian(seed, "b", half, h), make.gaussian(seed, "X", half, m, n)
    return make.join(*_rescaled(W, b, D, X, make.log_uniform(seed, "c", -1, 1, half)))


def _ones(c: float, both: bool = True) -> tuple[Sides, Sides]:
    """One positive number, one unit, no bias."""
    one = make.eye(1)[None]
    return _rescaled(one, 0 * make.eye(1), one, one, make.vector(c), both)


def _rescaled_extremal() -> Sides:
    """c = 100: the readout's curvature is all there is; c = 1/100: that of W."""
    return make.every(_ones(100.0)[0], _ones(0.01)[0])


def _one_side_only() -> Sides:
    """D/c with W as it was is another function."""
    return make.join(*_ones(10.0, both=False))


statement(
    "sharpness-moves",
    "Proposition 27.3",
    "(W, b, D) → (cW, cb, D/c): same loss, Y → cY, sharpness ≥ max(c² λ_D, λ_W/c²)",
    _rescaled_random,
    {"both sides rescaled": _one_side_only},
    _rescaled_extremal,
)

"""What neighbouring theories measure: self-expression, vanishing polynomials, collapse, sharpness.

Subspace clustering writes each point by the others, X = XC, and reads clusters off |C|. Among all
such C the one of least nuclear and the one of least Frobenius norm are both P(X), the projector on
the row space, known as the shape interaction matrix (Costeira and Kanade 1998,
doi:10.1023/A:1008000628999): ``row_projector`` computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import lars_path_gram
from torch import Tensor

from subspace_lib import _checks as check


@check.numpy_in_numpy_out
def ridge_self_expression(X: Tensor, penalty: float | Tensor) -> Tensor:
    """argmin_C ‖X − XC‖_F² + λ‖C‖_F² = V diag(s²/(s² + λ)) Vᵀ: a smoothed P(X).

    X: (..., m, n). penalty: λ > 0, a number or one per matrix (...). Returns (..., n, n).
    λ → 0 gives P(X); λ = s_r s_{r+1} comes closest to P_r(X), at distance s_{r+1}/(s_r + s_{r+1}).
    Raises ValueError for a penalty that is not positive. Source: Lu et al. (2012),
    doi:10.1007/978-3-642-33786-4_26 (least squares regression).
    """
    X = check.matrix(X, "X")
    size = torch.as_tensor(penalty, dtype=X.dtype, device=X.device)
    if not (torch.isfinite(size) & (size > 0)).all():
        raise ValueError(
            f"penalty must be positive and finite, got {penalty}; without a penalty the answer is "
            f"row_projector(X, rank)"
        )
    _, s, Vh = torch.linalg.svd(X, full_matrices=False)
    weights = s.square() / (s.square() + size[..., None])
    return Vh.mT @ (weights[..., None] * Vh)


@check.numpy_in_numpy_out
def sparse_self_expression(X: Tensor, penalty: float = 0.1) -> Tensor:
    """Each point by few others: column i minimises ‖x_i − Xc‖²/2 + α_i‖c‖_1 over c with c_i = 0.

    X: (m, n); columns are scaled to length one first (zero columns stay). penalty: α_i as a share
    of the smallest α for which c = 0 is the answer, in (0, 1). Returns C: (n, n), X ≈ XC.
    The homotopy method (scikit-learn's LARS), exact up to rounding; n problems of size n.
    Raises ValueError for a penalty outside (0, 1), fewer than two points or a batch. Source:
    Elhamifar and Vidal (2013), doi:10.1109/TPAMI.2013.57 (sparse subspace clustering).
    """
    X = check.matrix(X, "X")
    if X.ndim != 2 or X.shape[1] < 2:
        raise ValueError(f"X must be one matrix (m, n) with n ≥ 2 points, got {tuple(X.shape)}")
    if not 0 < penalty < 1:
        raise ValueError(f"penalty must lie strictly between 0 and 1, got {penalty}; 0.1 is usual")
    A = X.detach().cpu().double().numpy()
    length = np.linalg.norm(A, axis=0)
    A = np.divide(A, length, out=np.zeros_like(A), where=length > 0)
    n = A.shape[1]
    G, C = A.T @ A, np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        aims = G[others, i]
        if (most := np.abs(aims).max()) > 0:
            options = {"alpha_min": penalty * most, "return_path": False, "max_iter": 10 * n}
            among = G[np.ix_(others, others)]
            _, _, C[others, i] = lars_path_gram(aims, among, n_samples=1, method="lasso", **options)
    return torch.from_numpy(C).to(X)


@check.numpy_in_numpy_out
def veronese(X: Tensor, degree: int) -> Tensor:
    """All monomials of one degree of the coordinates: (..., m, n) → (..., M, n).

    M = C(m + degree − 1, degree).

    A polynomial that vanishes on the points is a vector c with cᵀ veronese(X) = 0. On a union of K
    proper subspaces there is one of degree K: a product of linear forms. Source: Vidal, Ma and
    Sastry (2005), doi:10.1109/TPAMI.2005.244.
    """
    X = check.matrix(X, "X")
    K = check.positive_int(degree, "degree")
    chosen = combinations_with_replacement(range(X.shape[-2]), K)
    return torch.stack([X[..., list(index), :].prod(-2) for index in chosen], -2)


@dataclass(frozen=True)
class Collapse:
    """Neural collapse of a representation; each (...), 0 when complete. See ``neural_collapse``.

    variability (NC1): tr(Σ_W Σ_B⁺)/K. scatter: tr Σ_W/tr Σ_B, which also counts deviations that are
    orthogonal to all class means. norms, angles (NC2): spread of ‖μ_k − μ‖ by its mean; mean
    |cos + 1/(K−1)|. duality (NC3): ‖Dᵀ/‖D‖_F − M/‖M‖_F‖_F², or None without a readout. nearest
    (NC4): share of the points whose nearest class mean is not that of the class they are given.
    """

    variability: Tensor
    scatter: Tensor
    norms: Tensor
    angles: Tensor
    duality: Tensor | None
    nearest: Tensor


def neural_collapse(
    Y: Tensor, labels: Any, readout: Tensor | None = None, guess: Tensor | None = None
) -> Collapse:
    """The four measures of neural collapse of Y (..., p, n), one point per column.

    labels: (n,), K ≥ 2 classes; the global mean μ is the mean of the class means. readout: D
    (..., K, p). guess: the classes that the network gives (..., n), for NC4; None: the labels.
    NC1 is inf where the class means coincide.
    Raises ValueError for fewer than two classes or a readout of another shape. Source: Papyan, Han
    and Donoho (2020), doi:10.1073/pnas.2015509117.
    """
    Y = check.matrix(Y, "Y")
    y = torch.from_numpy(check.label_vector(labels, Y.shape[-1])).to(Y.device)
    K = int(y.max()) + 1
    if K < 2:
        raise ValueError("labels must name at least two classes, got one")
    means = torch.stack([Y[..., y == k].mean(-1) for k in range(K)], -1)  # (..., p, K)
    M, E = means - means.mean(-1, keepdim=True), Y - means[..., y]
    U, s, _ = torch.linalg.svd(M, full_matrices=False)
    U, s = U[..., : K - 1], s[..., : K - 1]
    within = (U.mT @ E).square().mean(-1)  # u_iᵀ Σ_W u_i
    there = s > 1e-12 * s[..., :1]
    ratio = torch.where(there, within / s.square().clamp(min=torch.finfo(Y.dtype).tiny), 0.0)
    lengths = torch.linalg.vector_norm(M, dim=-2)
    unit = M / lengths[..., None, :]
    cosines = (unit.mT @ unit)[..., ~torch.eye(K, dtype=torch.bool, device=Y.device)]
    own = torch.cdist(Y.mT, means.mT).argmin(-1)
    # Σ_B = MMᵀ/K, so its inverse and the 1/K of NC1 cancel
    variability = torch.where(s[..., 0] > 0, ratio.sum(-1), torch.inf)
    return Collapse(
        variability,
        E.square().sum((-2, -1)) / len(y) / (M.square().sum((-2, -1)) / K),
        lengths.std(-1, correction=0) / lengths.mean(-1),
        (cosines + 1 / (K - 1)).abs().mean(-1),
        None if readout is None else _duality(readout, M),
        (own != (y if guess is None else guess)).to(Y.dtype).mean(-1),
    )


def _duality(D: Tensor, M: Tensor) -> Tensor:
    if D.shape[-2:] != M.mT.shape[-2:]:
        raise ValueError(
            f"readout must be (..., K, p) = (..., {M.shape[-1]}, {M.shape[-2]}), got "
            f"{tuple(D.shape)}; it is the matrix that makes logits of Y"
        )
    norm = torch.linalg.matrix_norm
    A, B = D.mT / norm(D)[..., None, None], M / norm(M)[..., None, None]
    return (A - B).square().sum((-2, -1))


def sharpness(
    loss: Callable[[dict[str, Tensor]], Tensor],
    params: dict[str, Tensor],
    *,
    iterations: int = 30,
    seed: int = 0,
) -> Tensor:
    """Largest eigenvalue of the Hessian of each trial's loss, by Lanczos on Hessian products.

    loss(params): (trials,); params: name → (trials, …), trials that do not meet. Returns (trials,).
    Lanczos approaches the eigenvalue from below; it takes ``iterations`` products, each about as
    expensive as two gradients. ReLU networks: exact where no pre-activation is zero.
    """
    leaves = [p.detach().requires_grad_() for p in params.values()]
    value = loss(dict(zip(params, leaves, strict=True)))
    slopes = torch.autograd.grad(value.sum(), leaves, create_graph=True)
    sizes = [p[0].numel() for p in leaves]
    count = check.positive_int(iterations, "iterations")

    def product(v: Tensor) -> Tensor:
        parts = [x.reshape(p.shape) for x, p in zip(v.split(sizes, 1), leaves, strict=True)]
        found = torch.autograd.grad(
            slopes, leaves, parts, retain_graph=True, materialize_grads=True
        )
        return torch.cat([x.flatten(1) for x in found], 1)

    start = np.random.default_rng(seed).standard_normal(sum(sizes))
    v = torch.from_numpy(start).to(value).expand(len(value), -1)
    return _top_eigenvalue(product, v, min(count, v.shape[1]))


def _top_eigenvalue(product: Callable[[Tensor], Tensor], v: Tensor, steps: int) -> Tensor:
    """Lanczos with full reorthogonalisation, one Krylov space per trial. v: (trials, d)."""
    v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
    Q, T = v[:, None], v.new_zeros(len(v), steps, steps)
    for k in range(steps):
        w = product(Q[:, -1])
        along = (Q @ w[..., None])[..., 0]  # coefficients by all vectors so far
        T[:, k, : k + 1] = T[:, : k + 1, k] = along
        if k + 1 == steps:
            break
        for _ in range(2):
            w = w - (Q.mT @ (Q @ w[..., None]))[..., 0]
        length = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        # an exhausted Krylov space: zero vectors add zero rows to T
        floor = torch.finfo(w.dtype).eps * T.abs().amax((1, 2))[:, None]
        w = torch.where(length > floor, w / length.clamp(min=torch.finfo(w.dtype).tiny), 0.0)
        Q = torch.cat([Q, w[:, None]], 1)
    return torch.linalg.eigvalsh(T)[:, -1]

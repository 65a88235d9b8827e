"""What neighbouring theories measure: neural collapse and sharpness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check


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

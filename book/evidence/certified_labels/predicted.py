"""How far a noisy linear layer will move its projector, told before the layer has been seen whole.

Seen: the clean row space R, the weights W, the deviation of the noise, and C = YRᵀ, what the layer
says along the clean row space. Not seen: E = Y(I − P), all that can move Q. Notation of chapter 9:
thin SVD C = UΣOᵀ, B = RᵀO, F₀ = EᵀUΣ⁻¹, L = BF₀ᵀ + F₀Bᵀ, Q = P_k(Y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from subspace_lib.bounds import divide
from subspace_lib.clustering import cluster_trees, weakest_edge
from subspace_lib.rowspace import rounding_unit

EPS = torch.finfo(torch.float64).eps
EVENTS = ("first order", "t", "columns of E", "rows of F₀", "F₀")
EQUAL = (0.2,) * len(EVENTS)  # how the level is divided among the events


@dataclass(frozen=True)
class Prediction:
    """|(Q − P)_ij| ≤ bound_ij for all pairs at once, with probability 1 − level; ∞ where vacuous.

    bound = first + remainder, (..., n, n) each: a quantile of |L_ij|, quantile times its deviation,
    and what L leaves.
    """

    P: Tensor
    first: Tensor
    remainder: Tensor
    quantile: float

    @property
    def bound(self) -> Tensor:
        return self.first + self.remainder

    def score(self, labels: np.ndarray) -> Tensor:
        """The largest possible edge across over the weakest certain one needed: below 1 it
        certifies that some threshold on |Q| returns the clusters. (...)
        """
        across = torch.from_numpy(labels[:, None] != labels).to(self.P.device)
        low, high = (self.P.abs() - self.bound).clamp(min=0), self.P.abs() + self.bound
        possible = high.masked_fill(~across, 0).amax((-2, -1))
        return divide(possible, weakest_edge(cluster_trees(low, labels)[0]))


def predict(
    C: Tensor,
    R: Tensor,
    W: Tensor,
    noise: float | Tensor,
    level: float = 0.05,
    shares: tuple[float, ...] = EQUAL,
) -> Prediction:
    """The bound from C = YRᵀ (..., p, k), R (..., k, n), W (..., p, m) and the noise's deviation.

    shares: of the level, one for each of EVENTS.
    """
    n, k = R.shape[-1], R.shape[-2]
    U, values, Oh = torch.linalg.svd(C, full_matrices=False)
    unit, sigma = rounding_unit(max(C.shape[-2], n), EPS), torch.as_tensor(noise).to(C)
    a1, a2, a3, a4, a5 = (level * share for share in shares)
    B = R.mT @ Oh.mT
    p = torch.linalg.vector_norm(B, dim=-1)
    q = (1 - p.square()).clamp(min=0).sqrt()  # √(1 − P_jj)
    M = (U / values[..., None, :]).mT @ W  # F₀ᵀ = M Z(I − P)
    norm, length = (
        tuple(f(A) * sigma for A in (W, M))
        for f in (lambda A: torch.linalg.matrix_norm(A, 2), torch.linalg.matrix_norm)
    )
    wide = (n - k) ** 0.5
    t = length[0] + norm[0] * (wide + tail(a2))
    e = q * (length[0] + norm[0] * tail(a3 / n))[..., None]
    f = q * (length[1] + norm[1] * tail(a4 / n))[..., None]
    F0 = length[1] + norm[1] * (wide + tail(a5))
    # rounding, as in the library's entrywise bound
    slack = unit * (values[..., 0] + t)
    s, t, e = values[..., -1] - slack, t + slack, e + slack[..., None]
    rounding = divide(3 * slack, s)
    remainder = _remainder(p, s, t, e, f + rounding[..., None], F0 + rounding, rounding)
    quantile = -float(ndtri(a1 / (n * (n + 1))))  # two tails, n(n + 1)/2 pairs i ≤ j
    first = quantile * sigma[..., None, None] * _deviation(B, M)
    return Prediction(B @ B.mT, first, remainder, quantile)


def tail(probability: float) -> float:
    """√(2 ln(1/α)): a Lipschitz function of a Gaussian exceeds its mean by this at most with α."""
    return math.sqrt(2 * math.log(1 / probability))


def _deviation(B: Tensor, M: Tensor) -> Tensor:
    """Deviation of L_ij for noise of deviation 1.

    The variance is (1 − P_jj) b_iᵀΓb_i + (1 − P_ii) b_jᵀΓb_j + 2 (I − P)_ij b_iᵀΓb_j, Γ = MMᵀ.
    """
    A = B @ M
    G, N = A @ A.mT, torch.eye(B.shape[-2]).to(B) - B @ B.mT
    g, room = (torch.diagonal(X, dim1=-2, dim2=-1) for X in (G, N))
    variance = room[..., None, :] * g[..., :, None] + room[..., :, None] * g[..., None, :]
    return (variance + 2 * N * G).clamp(min=0).sqrt()


def _remainder(
    p: Tensor, s: Tensor, t: Tensor, e: Tensor, f: Tensor, F0: Tensor, rounding: Tensor
) -> Tensor:
    """rem of Theorem 9.8 (B) with upper bounds in place of t, e_j, f_j and ‖F₀‖; ∞ where s ≤ t."""
    open_ = (s > t) & (rounding < 0.5)
    s = torch.where(open_, s, 1.0)[..., None]
    t = torch.where(open_, t, 0.0)[..., None]
    x, ratio, extra = (t / s) ** 2, t / s**2, rounding[..., None]
    tau = F0[..., None] / (1 - x)
    rho = tau / torch.hypot(torch.ones_like(tau), tau)
    leak = ratio * rho * e
    g = (f + leak) / (1 - extra).clamp(min=0.5)
    eta = (F0[..., None] * rho + extra) * g + leak + extra
    outer = [(p, eta), (eta, p), (g, g), (rho**2 * p, p), (extra.expand_as(p), p * 0 + 1)]
    left, right = (torch.stack(side, -1) for side in zip(*outer, strict=True))
    return torch.where(open_[..., None, None], left @ right.mT, math.inf)

"""Bounded noise: what Theorem 10.4 and Theorem 10.6 say, written out from their statements.

Nothing here is taken from ``subspace_lib.certify``, which is compared with these lines.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from evidence import instances as make


class Reading(NamedTuple):
    """What a noisy layer says about the clean row projector P: b_ij ≥ |P − Q|_ij and more."""

    Q: Tensor  # (..., n, n)
    s: Tensor  # (...), s_k(Y)
    sine: Tensor  # (...), ν/s
    entries: Tensor  # (..., n, n), b
    columns: Tensor  # (..., n), d
    terms: dict[str, Tensor]  # (..., n) each

    @property
    def links(self) -> Tensor:
        """(..., n, n) pairs certified to have P_ij ≠ 0; none where s ≤ ν."""
        off = ~torch.eye(self.Q.shape[-1], dtype=torch.bool)
        return (self.Q.abs() > self.entries) & off & (self.sine < 1)[..., None, None]


def read(Y: Tensor, k: int, nu: Tensor, delta: Tensor | None = None) -> Reading:
    """Y (..., p, n), nu (...) ≥ ‖N‖, delta (..., n) ≥ the norms of N's columns, by default nu.

    The formulas are evaluated as they stand, also where s ≤ ν: the controls want that.
    """
    _, S, Vh = torch.linalg.svd(Y, full_matrices=False)
    S, V = S[..., None, :k], Vh[..., :k, :].mT
    s, nu = S[..., -1], nu[..., None]  # (..., 1) beside the points
    delta = nu.expand(V.shape[:-1]) if delta is None else delta
    p, a = V.norm(dim=-1), (V / S).norm(dim=-1)
    rho = nu / s
    alpha = a * s / (s - nu)
    beta = torch.minimum(delta + nu * p, nu * (1 - p**2).clamp(min=0).sqrt())
    phi, psi = beta / (s - nu), nu * alpha
    kappa = torch.where(rho**2 < 0.5, rho * (1 - rho**2).clamp(min=0).sqrt(), 0.5)
    entries = (
        symmetric(alpha, beta)
        + kappa[..., None] * symmetric(psi, phi)
        + outer(psi, psi)
        + outer(phi, phi)
    )
    columns = ((phi + kappa * psi) ** 2 + (psi + kappa * phi) ** 2).sqrt()
    terms = {"α": alpha, "β": beta, "φ": phi, "ψ": psi}
    return Reading(V @ V.mT, s[..., 0], rho[..., 0], entries, columns, terms)


def outer(x: Tensor, y: Tensor) -> Tensor:
    return x[..., :, None] * y[..., None, :]


def symmetric(x: Tensor, y: Tensor) -> Tensor:
    """x_i y_j + x_j y_i."""
    return outer(x, y) + outer(y, x)


def reversed_roles(Y: Tensor, N: Tensor, k: int) -> Tensor:
    """V₁ᵀ − S₁⁻¹U₁ᵀN: the k × n matrix whose row space is the clean one."""
    U, S, Vh = torch.linalg.svd(Y, full_matrices=False)
    return Vh[..., :k, :] - (U[..., :k].mT @ N) / S[..., :k, None]


def second_eigenvalue(Q: Tensor, d: Tensor, chosen: Tensor) -> Tensor:
    """λ₂ of Lx = λ diag(d²)x on the chosen points: L the Laplacian of the weights Q_ij².

    Q: (n, n); d: (n,); chosen: (n,) bool with at least two points.
    """
    w = Q[chosen][:, chosen] ** 2
    w = w - torch.diag(w.diagonal())
    laplacian, scale = torch.diag(w.sum(-1)) - w, 1 / d[chosen]
    return torch.linalg.eigvalsh(scale[:, None] * laplacian * scale)[1]


def pair_eigenvalues(Q: Tensor, d: Tensor) -> Tensor:
    """(..., n, n): the same for all sets of two points."""
    return Q**2 * (d[..., :, None] ** -2.0 + d[..., None, :] ** -2.0)


# Adversaries


def weakest(Y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k-th left and right singular vectors, (..., p) and (..., n)."""
    U, _, Vh = torch.linalg.svd(Y, full_matrices=False)
    return U[..., k - 1], Vh[..., k - 1, :]


def steepest(Y: Tensor, k: int, i: int, j: int) -> Tensor:
    """Of all N with ‖N‖ = 1 the one that moves entry (i, j) fastest, to first order.

    The derivative of (P − Q)_ij in the direction −N is ⟨N, D⟩ with D of rank at most two; the
    maximum over the unit ball of the spectral norm is D's polar factor.
    """
    U, S, Vh = torch.linalg.svd(Y, full_matrices=False)
    left = U[..., :k] @ (Vh[..., :k, :] / S[..., :k, None])  # column i is U₁S₁⁻¹v_i
    rest = make.eye(Y.shape[-1]) - Vh[..., :k, :].mT @ Vh[..., :k, :]
    D = left[..., i, None] * rest[..., j, None, :] + left[..., j, None] * rest[..., i, None, :]
    W, size, Zh = torch.linalg.svd(D, full_matrices=False)
    return (W * (size > 1e-9 * size[..., :1]).double()[..., None, :]) @ Zh


class Noisy(NamedTuple):
    """Clean layers of rank k, their noise, the observed sum, and what is known of the noise."""

    A: Tensor
    N: Tensor
    Y: Tensor
    k: int
    nu: Tensor  # ‖N‖
    delta: Tensor  # norms of its columns, or ‖N‖ where only that is known

    @property
    def P(self) -> Tensor:
        V = make.row_space(self.A)  # of all of A, whatever is said of its rank
        return V.mT @ V

    def kept(self, some: Tensor) -> Noisy:
        A, N, Y, nu, delta = (v[some] for v in (self.A, self.N, self.Y, self.nu, self.delta))
        return Noisy(A, N, Y, self.k, nu, delta)

    def reading(self) -> Reading:
        return read(self.Y, self.k, self.nu, self.delta)


ATTACKS = ("Gaussian", "rank one", "one column", "weakest direction", "steepest", "inside U₁")


def direction(seed: int, kind: str, A: Tensor, k: int) -> Tensor:
    """Noise of norm one against the clean layers A (count, p, n)."""
    count, p, n = A.shape
    i, j = make.shape(seed, i=(0, n - 1), j=(0, n - 1))
    if kind == "steepest":
        return steepest(A, k, i, j)
    N = make.gaussian(seed, "N", count, p, n)
    if kind == "rank one":
        N = make.gaussian(seed, "left", count, p, 1) * make.gaussian(seed, "right", count, 1, n)
    if kind == "one column":
        N = N * (torch.arange(n) == j)
    if kind == "weakest direction":
        u, v = weakest(A, k)
        point = make.eye(n)[i] - v * v[:, i, None]
        N = u[..., None] * point[:, None, :]
    return N / make.norm(N)[:, None, None]


def noisy(seed: int, count: int) -> Noisy:
    """Layers with s > ν under random noise and under the attacks, from faint to nearly lost."""
    k, p, n = make.shape(seed, k=(1, 3), p=(0, 3), n=(1, 7))
    p, n = k + p, k + n
    A = make.with_spectrum(seed, "A", p, n, make.spectrum(seed, "s", -1.5, 0, count, k))
    kind = ATTACKS[seed % len(ATTACKS)]
    scale = make.log_uniform(seed, "size", -4, 0, count, 1, 1)
    if kind == "inside U₁":  # Y of rank k, and noise that only its own k rows see
        U = torch.linalg.svd(A, full_matrices=False).U[..., :k]
        i, j = make.shape(seed, i=(0, n - 1), j=(0, n - 1))
        N = U @ (U.mT @ steepest(A, k, i, j))
        N = N * (scale * torch.linalg.svdvals(A)[:, k - 1, None, None])
        A = A - N
    else:
        N = direction(seed, kind, A, k) * (scale * torch.linalg.svdvals(A)[:, k - 1, None, None])
    Y, nu = A + N, make.norm(N) * make.NEARLY
    keep = (torch.linalg.svdvals(Y)[:, k - 1] > 1.001 * nu) & (nu > 0)
    columns = N.norm(dim=1) * make.NEARLY
    known = make.uniform(seed, "known", 0, 1, count, 1) < 0.7
    delta = torch.where(known, columns, nu[:, None])
    return Noisy(A, N, Y, k, nu, delta).kept(keep)

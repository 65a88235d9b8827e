"""Must-links under noise of bounded size, whatever it is.

Y = A + N (p×n), rank A ≤ k, ‖N‖ ≤ ν, ‖N e_j‖ ≤ δ_j; Y = U S V with the k leading triples of Y
(V: (k, n), columns v_j), s = s_k(Y) > ν. With H = S⁻¹UᵀN the k×n matrix V − H = S⁻¹UᵀA has the row
space of A exactly, so only k rows of the noise matter and no gap beyond s_k is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_lib.certify.entries import Entries
from subspace_lib.rowspace import factor, rounding_unit


def allowance(size: int, eps: float) -> float:
    """Relative to s_1: what may separate the numbers that came from the matrix that is meant.

    Entries that carry 20 independent roundings of the precision in which they came, and the
    decomposition in double precision. By experience: no proof of the constants is claimed.
    """
    return 10 * math.sqrt(size) * eps + rounding_unit(size, torch.finfo(torch.float64).eps)


@dataclass(frozen=True)
class Rows:
    """Row by row: |v_iᵀf_j| ≤ α_iβ_j, ‖F v_i‖ ≤ ψ_i, ‖f_j‖ ≤ φ_j, where V + Fᵀ spans row(A)."""

    alpha: Tensor
    beta: Tensor
    phi: Tensor
    psi: Tensor
    kappa: float  # bounds sin θ cos θ, θ the largest angle
    sine: float  # bounds sin θ; 1 or more where nothing follows
    unit: float  # rounding in Q
    refused: str = ""  # why Y cannot be a matrix of rank k and such noise

    @property
    def length(self) -> Tensor:
        """d_i ≥ ‖(P − Q)e_i‖."""
        return torch.hypot(self.phi + self.kappa * self.psi, self.psi + self.kappa * self.phi)


def entry_bounds(
    Y: Tensor, rank: int, radius: Tensor, columns: Tensor | None, eps: float
) -> tuple[Entries, Rows]:
    """Q = P_k(Y) and b with |P − Q|_ij ≤ b_ij, from ‖N‖ ≤ radius and ‖Ne_j‖ ≤ columns_j.

    Y: (p, n) in float64, balanced; P the projector onto row(A), which has rank k exactly where
    s_k(Y) > ν. eps: of the precision in which Y came.
    """
    space = factor(Y, rank)
    V, s, unit = space.V, space.s[:rank], allowance(max(Y.shape), eps)
    slack = unit * space.s[0]
    nu = radius + slack
    delta = nu.expand(V.shape[-1]) if columns is None else (columns + slack).clamp(max=nu)
    least = s[-1]
    room = least - nu  # rounding of the singular values is in slack
    sine = float(nu / least) if least > 0 else math.inf
    proves = sine < 1
    room = room if proves else torch.ones_like(room)
    safe = s if proves else torch.ones_like(s)
    p = torch.linalg.vector_norm(V, dim=0)
    outside = (1 - (p - unit).clamp(min=0) ** 2).clamp(min=0).sqrt()
    beta = torch.minimum(delta + nu * (p + unit), nu * outside)
    a = torch.linalg.vector_norm(V / safe[:, None], dim=0) + unit / safe[-1]
    alpha, phi = a * safe[-1] / room, beta / room
    kappa = 0.5 if sine**2 >= 0.5 else sine * math.sqrt(1 - sine**2)
    over = float(space.value(rank + 1) / nu) if nu > 0 else 0.0  # at most 1, by Weyl's inequality
    refused = f"s_{rank + 1}(Y) is {over:.3g} times the radius, so rank or radius is too small"
    rows = Rows(alpha, beta, phi, nu * alpha, kappa, sine, unit, refused if over > 1 else "")
    return _entries(V, rows, proves), rows


def _entries(V: Tensor, r: Rows, proves: bool) -> Entries:
    """α_iβ_j + α_jβ_i + κ(ψ_iφ_j + ψ_jφ_i) + ψ_iψ_j + φ_iφ_j, and at most the sine."""
    one = torch.ones_like(r.phi)
    left = [r.alpha, r.beta, r.kappa * r.psi, r.kappa * r.phi, r.psi, r.phi, 2 * r.unit * one]
    right = [r.beta, r.alpha, r.phi, r.psi, r.psi, r.phi, one]
    cap = r.sine + 2 * r.unit
    return Entries(V, one[: len(V)], torch.stack(left, 1), torch.stack(right), None, cap, proves)

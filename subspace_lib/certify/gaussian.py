"""Must-links under Gaussian noise, from k rows whose noise has nothing to do with their choice.

T = C + N (k×n), C = CP for a projector P of rank k, N with independent columns N(0, Σ). Only pairs
with P_ij = 0 need a bound; T has no trailing part, so no gap enters; and Ψ̂ = TTᵀ − μI takes the
energy of the noise out of TTᵀ, as in errors-in-variables regression.
"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor

from subspace_lib.certify.deterministic import allowance
from subspace_lib.certify.entries import OUTWARD, Entries
from subspace_lib.certify.noise import extremes
from subspace_lib.rowspace import factor

# Shares of the level: first order, second order, ‖x_i‖, ‖ε_j‖, eigenvalues of the noise. The first
# carries the bound; a share ten times smaller costs the others a few per cent of a small term.
SHARES = (0.6, 0.1, 0.05, 0.05, 0.2)


def null_bounds(T: Tensor, deviation: tuple[float, float], level: float, eps: float) -> Entries:
    """P̂ = Tᵀ Ψ̂⁻¹ T and b with |P̂_ij| ≤ b_ij for all pairs with P_ij = 0, with probability
    ≥ 1 − level.

    T: (k, n) in float64, n ≥ 2k. deviation: (a, b) with a² I ⪯ Σ ⪯ b² I; a = b for white noise.
    The noise T(I − P) is compressed to a k×(n − k) Gaussian matrix whose extreme singular values
    have a fixed law; its energy in any direction lies in [μ − ω, μ + ω].
    """
    (k, n), (low, sigma) = T.shape, deviation
    pairs = n * (n - 1) / 2
    first, second, third, fourth, fifth = (share * level for share in SHARES)
    z1, z2, z3 = (-float(ndtri(a)) for a in (first / (2 * pairs), second / (2 * pairs), third / n))
    c4 = math.sqrt(2 * math.log(n / fourth))
    least, most = extremes(k, n - k, fifth / 2)
    lo, hi = (low * least) ** 2, (sigma * most) ** 2
    mu, omega = (hi + lo) / 2, (hi - lo) / 2 * OUTWARD

    space = factor(T, k, eps=eps)
    V, s = space.V, space.s
    unit = allowance(max(T.shape), eps)
    eta = float(unit * s[0])  # rounding in T, in norm
    omega += 2 * float(s[0]) * eta + eta**2
    values = s**2 - mu  # of Ψ̂, largest first
    proves = bool(values[-1] > omega)
    values = values if proves else torch.ones_like(values) * (2 * omega + 1)
    theta, floor = omega / float(values[-1]), float(values[-1]) - omega

    a = torch.linalg.vector_norm(V * (s / values)[:, None], dim=0) + unit * float(
        (s / values).max()
    )
    A = a / (1 - theta) + eta / floor  # ≥ ‖Ψ⁻¹t_i‖
    c = z3 * sigma / floor
    g = c + torch.sqrt(c**2 + A**2)  # ≥ ‖Ψ⁻¹x_i‖
    h = sigma * (float(((values - omega) ** -2).sum()) ** 0.5 + c4 / floor)  # ≥ ‖Ψ⁻¹ε_j‖
    one = torch.ones_like(A)
    constant = z2 * sigma * h + 2 * unit * float((s**2 / values).max())
    left = torch.stack([constant * one, eta * A, eta * one, omega * (1 - theta) * A], 1)
    right = torch.stack([one, one, A, A])
    return Entries(V, s**2 / values, left, right, (z1 * sigma * g) ** 2, math.inf, proves)

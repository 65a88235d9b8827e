"""Must-links under Gaussian noise, from k rows whose noise has nothing to do with their choice.

T = C + N (k×n), C = CP for a projector P of rank k, N with independent columns N(0, Σ). Given the
signal Γ = TPᵀ the noise E = T(I − P) is still Gaussian, and its columns ε_i, ε_j are independent
where P_ij = 0: only such pairs need a bound. T has no trailing part, so no gap enters.
"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor

from subspace_lib.certify.entries import OUTWARD, Entries
from subspace_lib.certify.noise import extremes
from subspace_lib.rowspace import factor, rounding_unit

# Shares of the level: pairs, lengths of the ‖Ψ⁻¹x_i‖, energy of the noise. Pairs carry the bound; a
# share ten times smaller costs the others a few per cent of a small term.
SHARES = (0.7, 0.1, 0.2)


def null_bounds(
    T: Tensor, deviation: tuple[float, float], level: float, slack: float = 0.0
) -> Entries:
    """P̂ = Tᵀ Ψ̂⁻¹ T and b with |P̂_ij| ≤ b_ij for all pairs with P_ij = 0, with probability
    ≥ 1 − level.

    T: (k, n) in float64, n > k. deviation: (a, σ) with a² I ⪯ Σ ⪯ σ² I; a = σ for white noise.
    slack: norm of what rounding may have added to T.
    Ψ = ΓΓᵀ is unknown; TTᵀ = Ψ + EEᵀ, and the energy of E (a k×(n − k) Gaussian matrix, whose
    extreme singular values have a fixed law) lies in [μ − ω, μ + ω] in every direction: Ψ̂ =
    TTᵀ − μI differs from Ψ by at most ω. With t_i = x_i + ε_i and x_iᵀΨ⁻¹x_j = P_ij = 0,

        P̂_ij = ε_iᵀΨ⁻¹t_j + x_iᵀΨ⁻¹ε_j − t_iᵀΨ⁻¹(Ψ̂ − Ψ)Ψ̂⁻¹t_j.

    The first two are σ‖Ψ⁻¹t_j‖w and σ‖Ψ⁻¹x_i‖u at most, u and w independent N(0, 1), since ε_i
    does not know ε_j: together at most σ√(‖Ψ⁻¹x_i‖² + ‖Ψ⁻¹t_j‖²) r but for probability e^(−r²/2).
    """
    (k, n), (low, sigma) = T.shape, deviation
    pairs, lengths, energy = (share * level for share in SHARES)
    r = math.sqrt(2 * math.log(n * (n - 1) / pairs))  # both orders of every pair
    z = -float(ndtri(lengths / n))
    least, most = extremes(k, n - k, energy / 2)
    mu = ((sigma * most) ** 2 + (low * least) ** 2) / 2
    omega = ((sigma * most) ** 2 - (low * least) ** 2) / 2 * OUTWARD

    space = factor(T, k)
    V, s = space.V, space.s
    unit = rounding_unit(max(T.shape), torch.finfo(T.dtype).eps)
    eta = slack + unit * float(s[0])
    omega += 2 * float(s[0]) * eta + eta**2
    values = s**2 - mu  # of Ψ̂, largest first
    proves = math.isfinite(omega) and bool(values[-1] > omega)
    if not proves:
        values, omega = torch.ones_like(s), 0.0
    floor = float(values[-1]) - omega  # ≤ the least eigenvalue of Ψ
    a = torch.linalg.vector_norm(V * (s / values)[:, None], dim=0) + unit * float(
        (s / values).max()
    )
    A = a * (float(values[-1]) / floor) + eta / floor  # ≥ ‖Ψ⁻¹t_i‖, also of t_i before rounding
    g = A + z * sigma / floor  # ≥ ‖Ψ⁻¹x_i‖: along Ψ⁻¹x_i noise takes at most the last term away
    weights = s**2 / values
    one = torch.ones_like(A)
    rounding = 2 * unit * float(weights.max()) * one
    left = torch.stack([rounding, eta * A, eta * one, omega * floor / float(values[-1]) * A], 1)
    right = torch.stack([one, one, A, A])
    return Entries(V, weights, left, right, (r * sigma * g, r * sigma * A), math.inf, proves)

"""Matrices as U diag(s) Vᵀ over dimension, rank, spectrum and seed."""

import torch
from hypothesis import strategies as st


def with_spectrum(m: int, n: int, spectrum: list[float], seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    k = len(spectrum)
    U = torch.linalg.qr(torch.randn(m, m, generator=g, dtype=torch.float64)).Q[:, :k]
    V = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64)).Q[:, :k]
    return U @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ V.T


@st.composite
def matrices(draw, max_m: int = 8, max_n: int = 20):
    """(A, rank): A (m, n) of full rank, its singular values in [0.1, 10], 1 ≤ rank ≤ min(m, n)."""
    m, n = draw(st.integers(1, max_m)), draw(st.integers(1, max_n))
    values = st.floats(0.1, 10)
    spectrum = sorted(draw(st.lists(values, min_size=min(m, n), max_size=min(m, n))), reverse=True)
    rank = draw(st.integers(1, min(m, n)))
    return with_spectrum(m, n, spectrum, draw(st.integers(0, 10**6))), rank


@st.composite
def perturbed(draw):
    """(A, B, rank): same shape, the disturbance between 1e-3 and 10 times A's scale."""
    A, rank = draw(matrices())
    size = 10 ** draw(st.floats(-3, 1))
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    return A, A + size * torch.randn(A.shape, generator=g, dtype=torch.float64), rank

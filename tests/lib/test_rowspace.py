"""The row space: every fast path against the slow obvious one, at every scale and in any batch."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subspace_lib as sl
from subspace_lib import rowspace

F64 = torch.float64
SHAPES = [(3, 12), (5, 6), (7, 7), (12, 3), (9, 5)]


def spectrum(shape, values, seed=0, batch=(), dtype=F64):
    """A matrix with these singular values and random singular vectors."""
    g, (p, n) = torch.Generator().manual_seed(seed), shape
    U, V = (
        torch.linalg.qr(torch.randn(*batch, size, size, generator=g, dtype=F64)).Q
        for size in (p, n)
    )
    s = torch.zeros(p, n, dtype=F64)
    s.diagonal()[: len(values)] = torch.tensor(values, dtype=F64)
    return (U @ s @ V.mT).to(dtype)


def orthonormal(k, n, seed, batch=()):
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(*batch, n, k, generator=g, dtype=F64)).Q.mT


def projector(V):
    return V.mT @ V


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("values", [[3.0, 2.0, 1.0], [1.0, 1e-2, 0.0], [1.0, 1e-9, 1e-12], [2.0]])
def test_factors_are_those_of_the_svd(shape, gram, values):
    """Also where the Gram matrix must be refused; equal to the digits that the spectrum leaves."""
    A = spectrum(shape, values, batch=(2, 3))
    space = rowspace.factor(A, 2, gram=gram)
    _, s, Vh = torch.linalg.svd(A, full_matrices=False)
    torch.testing.assert_close(space.s, s, rtol=1e-9, atol=1e-15)
    rank = sum(v > 1e-14 for v in values)
    assert space.rank.tolist() == [[rank] * 3] * 2
    kept = min(2, rank)
    torch.testing.assert_close(projector(space.V), projector(Vh[..., :kept, :]), atol=1e-5, rtol=0)
    assert space.V.shape == (2, 3, 2, shape[1])
    assert (space.V[..., kept:, :] == 0).all()


def test_values_beyond_the_size_and_rows_beyond_the_rank_are_zero():
    A = spectrum((3, 12), [2.0, 1.0, 0.5])
    space = rowspace.factor(A, 5)
    assert [float(space.value(j)) for j in (1, 3, 4, 99)] == pytest.approx([2.0, 0.5, 0, 0])
    assert space.V.shape == (5, 12)
    assert (space.V[3:] == 0).all()
    assert rowspace.singular_value(A, 4) == 0
    assert torch.allclose(projector(space.V), sl.row_projector(A, 3))


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_zero_matrix_has_no_row_space(shape, gram):
    A = torch.zeros(2, *shape, dtype=F64)
    space = rowspace.factor(A, 2, gram=gram)
    assert space.rank.tolist() == [0, 0]
    assert not space.V.any()
    assert (rowspace.top_norm(A) == 0).all()
    assert (rowspace.rounding_allowance(A) == 0).all()
    V = orthonormal(2, shape[1], 0, (2,))
    found = rowspace.distances(V, space.V)
    assert (found["spectral"] == 1).all()
    torch.testing.assert_close(found["fro"], torch.full((2,), 2**0.5, dtype=F64))


@pytest.mark.parametrize("gram", [False, True])
def test_equal_singular_values_leave_one_projector(gram):
    A = spectrum((9, 6), [2.0, 2.0, 2.0, 1.0, 1.0])
    _, _, Vh = torch.linalg.svd(A)
    space = rowspace.factor(A, 3, gram=gram)
    torch.testing.assert_close(projector(space.V), projector(Vh[:3]), atol=1e-12, rtol=0)


def test_the_size_is_that_of_the_matrix_however_long_the_batch():
    """Fifty trials of 3×4: the allowance must not take the batch for a side of the matrix."""
    A = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    eps = torch.finfo(F64).eps
    expected = 10 * 4 * eps * torch.linalg.matrix_norm(A, 2)
    torch.testing.assert_close(rowspace.rounding_allowance(A), expected)
    space = rowspace.factor(A, 2)
    assert (space.size, space.unit) == (4, 40 * eps)
    found = sl.reference_bound(A, orthonormal(1, 4, 1))
    torch.testing.assert_close(found.threshold, 2 * expected)
    one = rowspace.factor(A[7], 2)
    torch.testing.assert_close(space.part(torch.tensor([7])).V[0], one.V)
    shared = rowspace.factor(A[:1], 2)
    assert shared.part(torch.tensor([7])) is shared


def test_single_precision_has_its_rank_only_up_to_its_own_rounding():
    A = spectrum((12, 9), [3.0, 2.0, 1.0], dtype=torch.float32)
    assert rowspace.factor(A, 4).rank == 3
    assert rowspace.factor(A.double(), 4).rank == 9  # what a conversion pretends to know
    assert rowspace.factor(A.double(), 4, eps=torch.finfo(A.dtype).eps).rank == 3
    allowed = rowspace.rounding_allowance(A, A.double())
    assert float(allowed) == pytest.approx(10 * 12 * torch.finfo(torch.float32).eps * 3, rel=1e-5)


@pytest.mark.parametrize("exponent", [-300, -150, 0, 150, 300])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_scale_over_or_underflows(exponent, shape):
    A, unit = spectrum(shape, [3.0, 2.0, 1.0]), 10.0**exponent
    for gram in (False, True):
        one, other = (rowspace.factor(B, 2, gram=gram) for B in (A, A * unit))
        torch.testing.assert_close(other.s / unit, one.s, rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(projector(other.V), projector(one.V), rtol=0, atol=1e-9)
    norm = float(rowspace.top_norm(A * unit))
    assert norm / unit == pytest.approx(3.0)
    assert float(rowspace.singular_value(A * unit, 2)) / unit == pytest.approx(2.0)


@given(st.integers(-1074, 1023), st.sampled_from([torch.float32, F64]))
def test_balancing_is_exact(exponent, dtype):
    A = torch.tensor([[1.0, -0.75], [0.3, 0.0]], dtype=dtype)
    B = torch.ldexp(A.double(), torch.tensor(float(exponent), dtype=F64)).to(dtype)
    if not torch.isfinite(B).all() or not B.any():
        return
    huge = torch.full_like(B, torch.finfo(dtype).max)
    for batch in (B[None], torch.stack([B, huge])):  # what it takes for one it takes for all
        balanced, unit = rowspace.balanced(batch)
        assert torch.equal((balanced * unit[:, None, None])[0], B)
        assert math.frexp(float(unit[0]))[0] == 0.5
        size = balanced.square().sum((-2, -1))
        assert torch.isfinite(size).all()
        assert (size.square() > 0).all()


@given(st.integers(0, 10**6), st.floats(-150, 1), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60)
def test_what_lies_outside_against_sixty_digits(seed, exponent, k, extra):
    """Angles down to 1e-150: their sines keep their digits."""
    basis = orthonormal(10, 10, seed)
    theta = min(10**exponent, 1.5)
    U = basis[:k]
    turned = math.cos(theta) * basis[:1] + math.sin(theta) * basis[k : k + 1]
    V = torch.cat([turned, basis[1:k]])
    expected = float(mpmath.sin(theta))
    away = 1e-15 if theta > 1e-12 else 1e-15 * 3
    assert float(rowspace.largest_sine(V, U)) == pytest.approx(expected, abs=away)
    assert float(rowspace.sines(V, U)[0]) == pytest.approx(expected, abs=away)
    bigger = torch.cat([U, basis[k : k + extra]])
    assert float(rowspace.largest_sine(V, bigger)) < 1e-14


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_orthogonal_spaces_have_sine_one_and_not_more(seed, k, j):
    basis = orthonormal(9, 9, seed, (4,))
    V, U = basis[:, :k], basis[:, k : k + j]
    sines = rowspace.sines(V, U)
    assert (sines <= 1).all()
    torch.testing.assert_close(sines, torch.ones_like(sines))
    found = rowspace.distances(V, U)
    assert (found["spectral"] <= 1).all()
    assert (found["fro"] <= (k + j) ** 0.5).all()
    torch.testing.assert_close(found["fro"], torch.full((4,), (k + j) ** 0.5, dtype=F64))


@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(1, 4), st.floats(-6, 0.5))
def test_distances_against_the_projectors(seed, j, k, exponent):
    """Ranks may differ, one space may be empty; zero rows stand for missing dimensions."""
    U = orthonormal(j, 11, seed, (2, 3))
    near = torch.randn(2, 3, k, 11, generator=torch.Generator().manual_seed(seed + 1), dtype=F64)
    near = 10**exponent * near + torch.nn.functional.pad(U, (0, 0, 0, max(0, k - j)))[..., :k, :]
    V = torch.linalg.qr(near.mT).Q.mT
    difference = projector(V) - projector(U)
    found = rowspace.distances(V, U)
    expected = {
        "max": difference.abs().amax((-2, -1)),
        "spectral": torch.linalg.matrix_norm(difference, 2),
        "fro": torch.linalg.matrix_norm(difference),
    }
    for norm, value in expected.items():
        torch.testing.assert_close(found[norm], value, rtol=1e-7, atol=1e-9)
        assert torch.equal(rowspace.distance(V, U, norm), found[norm])
    padded = torch.nn.functional.pad(V, (0, 0, 0, 2))
    for norm, value in rowspace.distances(padded, U).items():
        torch.testing.assert_close(value, found[norm], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_entry_however_it_is_found(monkeypatch, seed):
    """In one piece, in tiles, and with most of the tiles ruled out unseen; shared spaces too."""
    g = torch.Generator().manual_seed(seed)
    A, B = (torch.randn(2, 3, 3, 50, generator=g, dtype=F64) for _ in range(2))
    A = A * (torch.rand(50, generator=g, dtype=F64) ** (seed % 4))
    V, U = sl.row_basis(A, 3), sl.row_basis(A + 10.0 ** (-seed % 5) * B, 2)
    full = (projector(V) - projector(U)).abs().amax((-2, -1))
    for name, value in {"TILE": 100, "DIRECT": 10, "WIDE_TILE": 7}.items():
        monkeypatch.setattr(rowspace, name, value)
        torch.testing.assert_close(rowspace.largest_entry(V, U), full, rtol=0, atol=1e-12)
    monkeypatch.setattr(rowspace, "DIRECT", 100)
    monkeypatch.setattr(rowspace, "TILE", 7)
    torch.testing.assert_close(rowspace.largest_entry(V, U), full, rtol=0, atol=1e-12)
    one = rowspace.largest_entry(V[0, 0], U)
    assert one.shape == (2, 3)
    torch.testing.assert_close(one[0, 0], full[0, 0])


def test_a_gram_matrix_does_not_invent_dimensions():
    """s_4 … are zero, and the Gram matrix's are 1e-8: of them it would count some."""
    A = spectrum((40, 30), [3.0, 2.0, 1.0])
    assert (torch.linalg.eigvalsh(A.mT @ A).clamp(min=0).sqrt() > 1e-10).sum() > 3
    assert rowspace.factor(A, 2, gram=True).rank == 3


def test_negative_control_a_gram_matrix_loses_small_singular_values():
    """Why GRAM_FLOOR is there: without it s_3 would be wrong by nine orders of magnitude."""
    A = spectrum((12, 6), [1.0, 1e-6, 1e-13])
    lost = torch.linalg.eigvalsh(A.mT @ A).clamp(min=0).sqrt().flip(-1)
    assert abs(float(lost[2]) / 1e-13 - 1) > 1
    kept = rowspace.factor(A, 3, gram=True).s
    assert float(kept[2]) == pytest.approx(1e-13, rel=0.05)
    np.testing.assert_allclose(kept[:2], [1.0, 1e-6], rtol=1e-8)


def test_diagnostics_of_single_precision_data_know_that_its_rank_is_rounded():
    """X* in float32 has rank 4 up to 6e-8; the chain's gaps must allow for that."""
    sizes = {"ambient_dim": 20, "n_subspaces": 2, "subspace_dim": 2, "points_per_subspace": 15}
    net = sl.FeedForward((20, 12, 20), "identity")
    params = net.init("gaussian", trials=2, seed=0, dtype=F64)
    found = {}
    for dtype in (torch.float32, F64):
        data = sl.sample_union(**sizes, trials=2, seed=0, dtype=dtype)
        found[dtype] = sl.diagnostics.diagnose(net, params, data)[1]
        assert (found[dtype]["rank"] == 4).all()
    error = [found[dtype]["activation_error"] for dtype in (torch.float32, F64)]
    assert (error[0] > 1e8 * error[1]).all()


def test_a_norm_needs_the_smaller_gram_matrix_alone(monkeypatch):
    sides, eigvalsh = [], torch.linalg.eigvalsh
    monkeypatch.setattr("torch.linalg.eigvalsh", lambda G: sides.append(G.shape[-1]) or eigvalsh(G))
    for shape in ((40, 3), (3, 40), (5, 40, 3), (5, 3, 40)):
        rowspace.top_norm(torch.ones(shape, dtype=torch.float64))
    assert sides == [3] * 4

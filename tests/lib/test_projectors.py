import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from strategies import matrices, perturbed, with_spectrum

import subspace_lib as sl
from subspace_lib import rowspace


@given(matrices())
def test_basis_is_orthonormal_and_spans_the_leading_directions(case):
    A, r = case
    V = sl.row_basis(A, r)
    assert torch.allclose(V @ V.T, torch.eye(r, dtype=A.dtype), atol=1e-10)
    captured = torch.linalg.svdvals(A @ V.T)  # Eckart–Young: no r directions capture more
    assert torch.allclose(captured, torch.linalg.svdvals(A)[:r], rtol=1e-8)


@given(matrices())
def test_projector_is_symmetric_idempotent_of_trace_r(case):
    A, r = case
    P = sl.row_projector(A, r)
    assert torch.allclose(P, P.T)
    assert torch.allclose(P @ P, P, atol=1e-10)
    assert float(P.trace()) == pytest.approx(r)


@given(perturbed())
def test_angles_agree_with_scipy(case):
    A, B, r = case
    V, W = sl.row_basis(A, r), sl.row_basis(B, r)
    expected = scipy.linalg.subspace_angles(V.T.numpy(), W.T.numpy())
    np.testing.assert_allclose(sl.principal_angles(A, B, r).numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(
        sl.projectors.sin_theta(A, B, r).numpy(), np.sin(expected), atol=1e-7
    )


@given(perturbed())
def test_distances_agree_with_the_entries(case):
    A, B, r = case
    difference = sl.row_projector(A, r) - sl.row_projector(B, r)
    expected = {
        "max": difference.abs().max(),
        "spectral": torch.linalg.matrix_norm(difference, 2),
        "fro": torch.linalg.matrix_norm(difference),
    }
    for norm, value in expected.items():
        assert torch.allclose(sl.projection_distance(A, B, r, norm), value, atol=1e-7), norm


def test_tiny_angles_keep_their_digits():
    a, b = np.array([[1.0, 0.0, 0.0]]), np.array([[1.0, 1e-13, 0.0]])
    assert sl.projectors.sin_theta(a, b, 1)[0] == pytest.approx(1e-13, rel=1e-6)


def test_tiles_and_long_matrices_agree_with_the_obvious_way(monkeypatch):
    g = torch.Generator().manual_seed(0)
    A = torch.randn(2, 3, 5, 300, generator=g, dtype=torch.float64)
    B = A + 0.1 * torch.randn(2, 3, 5, 300, generator=g, dtype=torch.float64)
    V, W = (torch.linalg.svd(M, full_matrices=False).Vh[..., :4, :] for M in (A, B))
    obvious = (V.mT @ V - W.mT @ W).abs().amax((-2, -1))
    monkeypatch.setattr(rowspace, "TILE", 64)
    distance = sl.projection_distance(A, B, 4)
    assert torch.allclose(distance, obvious, atol=1e-12)
    one = sl.projection_distance(A[1, 2], B[1, 2], 4)
    assert torch.allclose(one, distance[1, 2], atol=1e-12)


@pytest.mark.long
def test_seventy_thousand_points_fit_into_a_gigabyte():
    script = """
import resource, torch, subspace_lib as sl
torch.set_num_threads(1)
g = torch.Generator().manual_seed(0)
A = torch.randn(16, 70_000, generator=g, dtype=torch.float64)
B = A + 0.1 * torch.randn(16, 70_000, generator=g, dtype=torch.float64)
sl.projection_distance(A[:, :500], B[:, :500], 16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert 0 < float(sl.projection_distance(A, B, 16)) < 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1, "extra memory in GiB"


@given(matrices())
def test_containment(case):
    A, r = case
    bigger = torch.cat([A, torch.ones(1, A.shape[1], dtype=A.dtype)])
    full = int(sl.projectors.numerical_rank(bigger))
    rank_A = int(sl.projectors.numerical_rank(A))
    assert float(sl.projectors.containment_distance(A, bigger, rank_A, full)) < 1e-7
    assert torch.allclose(
        sl.projectors.containment_distance(A, bigger, r, r),
        sl.projectors.sin_theta(A, bigger, r)[0],
        atol=1e-9,
    )


def test_arrays_in_arrays_out_and_float32_stays():
    A = np.random.default_rng(0).standard_normal((4, 9))
    assert isinstance(sl.row_basis(A, 2), np.ndarray)
    assert isinstance(sl.projection_distance(A, A, 2), np.ndarray)
    assert sl.row_basis(torch.tensor(A, dtype=torch.float32), 2).dtype == torch.float32


GOOD = torch.eye(3, 5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("A", "rank", "kind", "message"),
    [
        (GOOD, 0, ValueError, r"lie in 1\.\.3"),
        (GOOD, 4, ValueError, "numerical_rank"),
        (GOOD, True, TypeError, "integer"),
        (GOOD, 2.0, TypeError, "integer"),
        (GOOD * float("nan"), 1, ValueError, "finite"),
        (GOOD[:0], 1, ValueError, "empty"),
        (GOOD[0], 1, ValueError, r"matrix \(\.\.\., m, n\)"),
        (GOOD.long(), 1, TypeError, r"\.double\(\)"),
        (GOOD.half(), 1, TypeError, "too coarse"),
        ([[1.0]], 1, TypeError, "NumPy array"),
        (with_spectrum(4, 6, [1.0, 0.5], 0), 3, ValueError, "numerical rank"),
    ],
)
def test_bad_input_says_what_to_do(A, rank, kind, message):
    with pytest.raises(kind, match=message):
        sl.row_basis(A, rank)


def test_bad_pairs_say_what_to_do():
    with pytest.raises(ValueError, match="same number of columns"):
        sl.projection_distance(GOOD, GOOD[:, :4], 1)
    with pytest.raises(ValueError, match="'max', 'spectral', 'fro'"):
        sl.projection_distance(GOOD, GOOD, 1, "nuclear")
    with pytest.raises(ValueError, match="larger_rank must be at least"):
        sl.projectors.containment_distance(GOOD, GOOD, 2, 1)

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import perturbed

import subspace_lib as sl


@given(perturbed())
@settings(max_examples=300)
def test_wedin_is_never_violated(case):
    A, B, r = case
    sines = sl.projectors.sin_theta(A, B, r)
    assert sines[0] <= sl.wedin_bound(A, B, r).bound
    assert sines[0] <= sl.wedin_bound(A, B, r, "one-sided").bound
    assert torch.linalg.vector_norm(sines) <= sl.wedin_bound(A, B, r, "fro").bound


@given(st.floats(0.01, 1.5))
def test_wedin_is_tight(theta):
    A = np.diag([1.0, 0.0])
    B = math.cos(theta) * np.array([[math.cos(theta), math.sin(theta)], [0, 0]])
    for form in ("spectral", "fro", "one-sided"):
        ratio = float(sl.projectors.sin_theta(A, B, 1)[0]) / float(
            sl.wedin_bound(A, B, 1, form).bound
        )
        assert 0.99 < ratio <= 1


def test_negative_control_the_gap_of_one_matrix_breaks_it():
    A, E = np.diag([1.0, 0.9]), np.diag([-0.051, 0.051])
    false_bound = np.linalg.norm(E, 2) / (1.0 - 0.9)
    assert sl.projectors.sin_theta(A, A + E, 1)[0] > false_bound
    assert sl.projectors.sin_theta(A, A + E, 1)[0] <= sl.wedin_bound(A, A + E, 1).bound


def test_a_gap_that_is_not_positive_is_a_verdict():
    A = torch.eye(3, dtype=torch.float64)
    cert = sl.wedin_bound(A, 2 * A, 1)
    assert (cert.verdict, float(cert.bound), bool(cert.holds)) == ("no gap", math.inf, False)


def test_ranks_beyond_the_size_have_zero_singular_values():
    A = torch.diag(torch.tensor([3.0, 2.0], dtype=torch.float64))
    assert float(sl.bounds.spectral_gap(A, A, 2)) == pytest.approx(2.0)


def test_batches_and_displays():
    g = torch.Generator().manual_seed(0)
    A = torch.randn(2, 3, 4, 9, generator=g, dtype=torch.float64)
    cert = sl.wedin_bound(A, A + 1e-3, 2)
    assert cert.bound.shape == (2, 3)
    one = sl.wedin_bound(A[1, 2], A[1, 2] + 1e-3, 2)
    assert torch.allclose(cert.bound[1, 2], one.bound)
    assert cert.verdict[1][2] == one.verdict
    assert "certifies in" in repr(cert)
    assert "verdict" in repr(one)
    assert "<table" in cert._repr_html_()
    told = sl.reference_bound(A[1, 2], sl.row_basis(A[1, 2], 2))._repr_html_()
    assert "s<sub>q+1</sub>(Y)" in told
    assert "_" not in told
    assert len(one.plot().patches) == len(one.terms) + 2


def test_bad_input():
    A = torch.eye(3, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match="same shape"):
        sl.wedin_bound(A, A[:2], 1)
    with pytest.raises(ValueError, match="'spectral', 'fro', 'one-sided'"):
        sl.wedin_bound(A, A, 1, "tight")
    with pytest.raises(ValueError, match="finite"):
        sl.bounds.spectral_gap(A / 0, A, 1)

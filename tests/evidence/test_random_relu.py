"""The arc-cosine kernel against sampled layers and exact cases, its split, and the lost angle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import with_spectrum

import subspace_lib as sl
from evidence.random_relu import kernels

F64 = torch.float64


@st.composite
def data(draw, max_m: int = 5):
    """X (m, n) of full row rank m < n, singular values in [0.1, 10]."""
    m = draw(st.integers(1, max_m))
    n = draw(st.integers(m + 2, 12))
    values = draw(st.lists(st.floats(0.1, 10), min_size=m, max_size=m))
    return with_spectrum(m, n, sorted(values, reverse=True), draw(st.integers(0, 10**6)))


def tilted(X):
    """M = hhᵀ/(2π) + ¼XᵀX."""
    rank_one, linear, _ = kernels.relu_kernel_parts(X)
    return rank_one + linear


@given(st.floats(0, math.pi), st.floats(0.1, 10))
def test_two_points_by_numerical_integration(theta, size):
    """The expectation is an average over the direction of w times E|w|² = 2 in the plane."""
    X = torch.tensor([[1.0, size * math.cos(theta)], [0.0, size * math.sin(theta)]], dtype=F64)
    phi = (torch.arange(20_000, dtype=F64) + 0.5) * (2 * math.pi / 20_000)
    Y = torch.relu(torch.stack([phi.cos(), phi.sin()], -1) @ X)
    torch.testing.assert_close(kernels.relu_kernel(X), 2 * Y.T @ Y / 20_000, rtol=1e-6, atol=1e-6)


def test_a_sampled_layer_tends_to_the_kernel_at_rate_one_over_root_p():
    X = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), dtype=F64)
    errors = []
    for p in (400, 40_000):
        g = torch.Generator().manual_seed(1)
        Y = torch.relu(torch.randn(30, p, 4, generator=g, dtype=F64) @ X)
        difference = Y.mT @ Y / p - kernels.relu_kernel(X)
        errors.append(float(torch.linalg.matrix_norm(difference).mean()))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.2)


@given(data())
def test_the_parts_add_up_and_the_rest_is_positive_semidefinite(X):
    rank_one, linear, rest = kernels.relu_kernel_parts(X)
    torch.testing.assert_close(rank_one + linear + rest, kernels.relu_kernel(X))
    assert (rest >= 0).all()
    assert float(torch.linalg.eigvalsh(rest)[0]) >= -1e-12 * float(rest.diagonal().sum())


def test_the_rest_begins_with_its_series_and_does_not_cancel():
    for cosine in (1e-9, 1e-4, 0.1):
        X = torch.tensor([[1.0, cosine], [0.0, math.sqrt(1 - cosine**2)]], dtype=F64)
        series = cosine**2 / (4 * math.pi) + cosine**4 / (48 * math.pi)
        measured = float(kernels.relu_kernel_parts(X)[2][0, 1])
        assert measured == pytest.approx(series, rel=2 * cosine**4 + 1e-12)


def test_exact_cases():
    X = np.array([[3.0, 0.0, -3.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    kernel = kernels.relu_kernel(X)
    assert isinstance(kernel, np.ndarray)
    assert kernel[0, 0] == pytest.approx(9 / 2)  # E relu(w)² = ½
    assert kernel[0, 2] == pytest.approx(0, abs=1e-15)  # opposite points are never both alive
    assert kernel[0, 1] == pytest.approx(6 / (2 * math.pi))  # orthogonal: product of the means
    assert kernels.relu_kernel_parts(X)[2][0, 1] == 0
    assert (kernel[3] == 0).all()  # the zero point


@given(data())
def test_infinite_layer_has_the_kernel_as_its_gram_matrix(X):
    L = kernels.infinite_layer(X)
    torch.testing.assert_close(L.T @ L, kernels.relu_kernel(X), rtol=1e-9, atol=1e-9)


@given(data())
def test_the_lost_angle_is_the_only_one_and_the_formula_gives_it(X):
    r = X.shape[0]
    spectrum = torch.linalg.eigvalsh(tilted(X))
    if spectrum[-r] < (1 + 1e-6) * spectrum[-r - 1]:
        return  # the top-r space of M is not unique
    found, M = kernels.lost_angle(X, r), tilted(X)
    angles = sl.principal_angles(X, M, r)
    assert float(found.angle) == pytest.approx(float(angles[0]), abs=1e-7)
    assert (angles[1:] < 1e-6).all()
    top = sl.row_basis(M, r)
    beside = found.direction - top.T @ (top @ found.direction)
    assert float(torch.linalg.vector_norm(found.direction)) == pytest.approx(1)
    assert float(torch.linalg.vector_norm(beside)) == pytest.approx(
        math.sin(float(found.angle)), abs=1e-7
    )
    assert 0 < float(found.root) <= float(found.weakest)


@pytest.mark.parametrize(("stretch", "degrees"), [(1.0, 90), (20.0, 0)])
def test_symmetric_data_lose_a_whole_direction_or_nothing(stretch, degrees):
    """Points ±a e_1, ±b e_2 and a copy of them: c = 0, and ‖h‖²/(2π) decides."""
    X = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]], dtype=F64)
    if degrees == 0:  # one point and its opposite, twice: s_r² = Σ h² and 1/4 > 1/(2π)
        X = stretch * X[:1, :2]
    found = kernels.lost_angle(X, X.shape[0])
    assert math.degrees(float(found.angle)) == pytest.approx(degrees, abs=1e-6)
    outside = float(found.orthogonal) ** 2 / (2 * math.pi)
    assert (outside > float(found.weakest)) == (degrees == 90)


def test_a_profile_inside_the_row_space_turns_nothing():
    X = torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]], dtype=F64)  # rays
    found = kernels.lost_angle(X, 2)
    assert float(found.angle) < 1e-12
    assert float(sl.projectors.sin_theta(X, tilted(X), 2)[0]) < 1e-12


def test_repeated_values_and_batches():
    Q = torch.linalg.qr(
        torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    ).Q
    X = Q.mT.contiguous()  # all singular values 1
    found = kernels.lost_angle(X, 3)
    assert found.angle.shape == (4,)
    truth = torch.stack([sl.principal_angles(x, tilted(x), 3)[0] for x in X])
    torch.testing.assert_close(found.angle, truth, rtol=1e-6, atol=1e-6)
    alone = kernels.lost_angle(X[2], 3)
    torch.testing.assert_close(alone.angle, found.angle[2])


def union(trials=3):
    return sl.sample_union(
        ambient_dim=20, n_subspaces=3, subspace_dim=2, points_per_subspace=15, trials=trials, seed=0
    )


def test_reference_contains_the_row_space_and_the_profile():
    sample = union()
    V, h = sl.row_basis(sample.X, 6), torch.linalg.vector_norm(sample.X, dim=-2)
    for labels, size in ((None, 7), (sample.labels, 9)):
        R = kernels.norm_profile_reference(sample.X, 6, labels)
        assert R.shape == (3, size, 45)
        torch.testing.assert_close(R @ R.mT, torch.eye(size, dtype=F64).expand(3, -1, -1))
        for rows in (V, h[:, None, :]):
            torch.testing.assert_close((rows @ R.mT) @ R, rows)


def test_one_profile_per_cluster_is_block_diagonal_and_one_for_all_is_not():
    sample = union()
    across = sample.labels[:, None] != sample.labels[None, :]
    for labels, expected in ((None, False), (sample.labels, True)):
        R = kernels.norm_profile_reference(sample.X, 6, labels)
        largest = float((R.mT @ R)[:, across].abs().max())
        assert (largest < 1e-12) == expected


def test_with_the_profile_the_wide_layer_is_close_and_without_it_is_far():
    sample = sl.sample_union(
        ambient_dim=60, n_subspaces=2, subspace_dim=3, points_per_subspace=150, seed=0
    )
    L, R = (
        kernels.infinite_layer(sample.X),
        kernels.norm_profile_reference(sample.X, 6, sample.labels),
    )
    assert float(sl.projection_distance(sample.X, L, 6, "spectral")) > 0.9
    assert float(sl.projectors.containment_distance(R, L, 8, 8)) < 0.4
    assert (
        float(sl.projectors.containment_distance(R, L, 8, 8))
        <= float(sl.reference_bound(L, R).bound)
        < 1
    )


def test_bad_input():
    sample = union(trials=None)
    with pytest.raises(ValueError, match="must have rank 5"):
        kernels.lost_angle(sample.X, 5)
    with pytest.raises(ValueError, match="must have rank 6"):
        kernels.norm_profile_reference(sl.add_noise(sample, 0.1, seed=1).X, 6)
    with pytest.raises(TypeError, match="floating-point"):
        kernels.relu_kernel(np.ones((2, 3), dtype=int))
    rays = torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]], dtype=F64)
    with pytest.raises(ValueError, match="stick out"):
        kernels.norm_profile_reference(rays, 2)
    with pytest.raises(ValueError, match="shape"):
        kernels.norm_profile_reference(sample.X, 6, [0, 1])

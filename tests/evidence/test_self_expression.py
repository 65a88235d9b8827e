"""Self-expression: the methods against their definitions and against slow references."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import subspace_lib as sl
from evidence.self_expression import methods

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def nuclear(C):
    return float(torch.linalg.matrix_norm(C, "nuc"))


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
def test_the_projector_has_the_least_nuclear_norm(seed, rank, more):
    """Every other C with X = XC, near or far, has a larger one."""
    X = normal(5, rank, seed=seed) @ normal(rank, rank + more, seed=seed + 1)
    P = sl.row_projector(X, sl.projectors.numerical_rank(X))
    free = torch.eye(len(P), dtype=F64) - P
    for size in (1e-2, 1.0, 10.0):
        C = P + size * free @ normal(*P.shape, seed=seed + 2)
        torch.testing.assert_close(X @ C, X, atol=1e-9, rtol=1e-9)
        assert nuclear(C) > nuclear(P)
        assert torch.linalg.matrix_norm(C) > torch.linalg.matrix_norm(P)


def test_singular_value_thresholding_finds_the_projector():
    """The algorithm of low-rank representation (doi:10.1109/TPAMI.2012.88) ends at P(X)."""
    X = normal(6, 3) @ normal(3, 9, seed=1)
    X = X / torch.linalg.matrix_norm(X, 2)
    C = J = dual = torch.zeros(9, 9, dtype=F64)
    slack, mu, eye = torch.zeros_like(X), 1e-2, torch.eye(9, dtype=F64)
    for _ in range(300):
        U, s, Vh = torch.linalg.svd(C + dual / mu)
        J = (U * (s - 1 / mu).clamp(min=0)) @ Vh
        right = X.mT @ (X + slack / mu) + J - dual / mu
        C = torch.linalg.solve(eye + X.mT @ X, right)
        slack, dual = slack + mu * (X - X @ C), dual + mu * (C - J)
        mu = min(1.1 * mu, 1e6)
    torch.testing.assert_close(J, sl.row_projector(X, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 50.0])
def test_ridge_solves_its_normal_equations(penalty):
    X = normal(2, 5, 8)
    G = X.mT @ X
    C = methods.ridge_self_expression(X, penalty)
    torch.testing.assert_close((G + penalty * torch.eye(8, dtype=F64)) @ C, G)
    per_trial = methods.ridge_self_expression(X, torch.tensor([penalty, 2 * penalty], dtype=F64))
    torch.testing.assert_close(per_trial[0], C[0])
    torch.testing.assert_close(per_trial[1], methods.ridge_self_expression(X[1], 2 * penalty))


def test_ridge_without_penalty_is_the_projector():
    X = normal(6, 3) @ normal(3, 10, seed=1)
    C = methods.ridge_self_expression(X, 1e-10)
    torch.testing.assert_close(C, sl.row_projector(X, 3), atol=1e-8, rtol=0)
    found = methods.ridge_self_expression(X.numpy(), 1e-10)
    assert isinstance(found, np.ndarray)


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_sparse_meets_the_conditions_of_optimality(seed, penalty):
    """x_jᵀ(x_i − Xc) = α sign c_j where c_j ≠ 0, at most α in size elsewhere; c_i = 0."""
    X = normal(6, 12, seed=seed)
    C = methods.sparse_self_expression(X, penalty)
    A = X / X.norm(dim=0)
    G, off = A.mT @ A, ~torch.eye(12, dtype=torch.bool)
    alpha = penalty * G.abs().masked_fill(~off, 0).amax(0)
    slope = (G - G @ C).masked_fill(~off, 0)
    assert (C.diagonal() == 0).all()
    assert (slope.abs() <= alpha + 1e-9).all()
    used = C.abs() > 1e-9
    torch.testing.assert_close(slope[used], (alpha * C.sign())[used], atol=1e-9, rtol=0)


def test_sparse_keeps_to_its_own_subspace_and_is_not_the_projector():
    data = sl.sample_union(
        ambient_dim=30, n_subspaces=3, subspace_dim=2, points_per_subspace=12, seed=0
    )
    C = methods.sparse_self_expression(data.X, 0.05).abs()
    across = data.labels[:, None] != data.labels
    assert C[across].sum() < 0.02 * C.sum()
    assert (C > 1e-9).sum(0).max() <= 4
    P = sl.row_projector(data.X, 6)
    assert torch.linalg.matrix_norm(C - P) > 0.5 * torch.linalg.matrix_norm(P)


def test_sparse_with_a_point_at_the_origin():
    X = torch.cat([normal(4, 6), torch.zeros(4, 1, dtype=F64)], 1)
    C = methods.sparse_self_expression(X)
    assert (C[:, -1] == 0).all()
    assert (C[-1] == 0).all()


def test_methods_find_clean_clusters():
    sizes = {"ambient_dim": 30, "n_subspaces": 3, "subspace_dim": 2, "points_per_subspace": 15}
    data = sl.sample_union(**sizes, trials=2, seed=0)
    found = methods.find_clusters(data.X, 3, data.rank, 0.1)
    assert set(found) == set(methods.METHODS)
    for name in ("P_r", "ridge", "sparse", "linkage"):
        assert sl.clustering.accuracy(data.labels, found[name][0]) == 1, name
    assert sl.clustering.accuracy(data.labels, found["k-means"][0]) < 0.9


def test_bad_input():
    X = normal(4, 6)
    with pytest.raises(ValueError, match="penalty must be positive"):
        methods.ridge_self_expression(X, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        methods.sparse_self_expression(X, 1.0)
    with pytest.raises(ValueError, match="one matrix"):
        methods.sparse_self_expression(normal(2, 4, 6))

"""Clustering without a rank: the formulas against draws, the estimator against the dense rule."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import subspace_lib as sl
from evidence.clustering import contrast as theory
from evidence.clustering import variants

K, DIM, POINTS = 3, 2, 12
R, N = K * DIM, K * POINTS
V = torch.block_diag(*[theory.frame(DIM, POINTS)] * K)
LABELS = torch.arange(K).repeat_interleave(POINTS)


@pytest.mark.parametrize(("d", "n"), [(1, 2), (2, 5), (3, 8), (4, 5), (5, 6)])
def test_frames_have_orthonormal_rows_and_equal_columns(d, n):
    F = theory.frame(d, n)
    torch.testing.assert_close(F @ F.T, torch.eye(d).double())
    torch.testing.assert_close(F.square().sum(0), torch.full((n,), d / n).double())


@pytest.mark.parametrize("r", [1, 3, 5, 8, 20])
def test_expected_squares_against_draws(r):
    drawn = [theory.row_space_at(V, r, seed) for seed in range(400)]
    mean = torch.stack([(U.T @ U).square() for U in drawn]).mean(0)
    expected = theory.squares_at(V.T @ V, r, N)
    across = LABELS[:, None] != LABELS
    within = ~across & ~torch.eye(N, dtype=torch.bool)
    for pairs in (across, within):
        assert float(mean[pairs].mean()) == pytest.approx(float(expected[pairs].mean()), rel=0.05)


def test_half_is_twice_where_clusters_are_large():
    big = torch.block_diag(*[theory.frame(8, 400)] * 2)
    y = torch.arange(2).repeat_interleave(400)
    for r in (8, 32):
        found = theory.contrast(theory.squares_at(big.T @ big, r, 800), y)
        assert float(found) == pytest.approx(3, rel=0.1)  # 1 + K


@pytest.mark.parametrize("a", [1.2, 3.0, 20.0])
def test_ignorance_is_the_mean_of_a_logarithm(a):
    total = quad(lambda x: -np.log(np.expm1(x)), 0, np.log(a))[0]
    assert theory.ignorance(a) == pytest.approx(total / np.log(a))
    assert np.log(theory.known_within(a) - 1) == pytest.approx(-theory.ignorance(a))


@pytest.mark.parametrize("variance", [0.05, 1.0])
def test_the_estimator_follows_the_dense_rule(variance):
    data = sl.sample_union(
        ambient_dim=40, n_subspaces=4, subspace_dim=3, points_per_subspace=40, seed=2
    )
    X = sl.add_noise(data, variance, seed=3).X
    dense = variants.cluster(X, 4, variants.Rule())
    found = sl.ProjectorClustering(4, random_state=0).fit_predict(X.T)
    assert sl.clustering.accuracy(dense, found) > 0.97


def test_an_or_loses():
    data = sl.sample_union(
        ambient_dim=60, n_subspaces=6, subspace_dim=4, points_per_subspace=60, seed=0
    )
    X = sl.add_noise(data, 1.0, seed=1).X
    rules = {mean: variants.Rule(mean=mean) for mean in ("geometric", "arithmetic", "smallest")}
    score = {
        mean: sl.clustering.accuracy(data.labels, variants.cluster(X, 6, r))
        for mean, r in rules.items()
    }
    assert score["geometric"] > 0.9
    assert score["geometric"] > score["arithmetic"] + 0.15

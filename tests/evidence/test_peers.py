"""The peers, each against a slow way or the conditions of its optimum; and the comparison."""

import dataclasses
import sys

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, orthogonal_mp

import subspace_lib as sl
from evidence.clustering import experiment as side
from evidence.clustering import peers
from evidence.experiment import run


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(8, 14))


def others(X, j):
    return np.delete(np.arange(X.shape[1]), j)


def column_by_column(X, solve):
    C = np.zeros((X.shape[1],) * 2)
    for j in range(X.shape[1]):
        C[others(X, j), j] = solve(X[:, others(X, j)], X[:, j])
    return C


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 30.0])
def test_least_squares_without_the_point_itself(X, penalty):
    def solve(A, x):
        n = A.shape[1]
        rows = np.concatenate([A, penalty**0.5 * np.eye(n)])
        return np.linalg.lstsq(rows, np.concatenate([x, np.zeros(n)]), rcond=None)[0]

    np.testing.assert_allclose(peers.least_squares(X, penalty), column_by_column(X, solve))


def test_sparse_is_the_lasso(X):
    X = peers.unit(X)
    weight = peers.coherence(X) / 20

    def solve(A, x):
        alpha = np.abs(A.T @ x).max() / 20 / len(x)
        return Lasso(alpha, fit_intercept=False, tol=1e-12, max_iter=10**5).fit(A, x).coef_

    found = peers.sparse(X, weight, steps=5000, tol=1e-10)
    np.testing.assert_allclose(found, column_by_column(X, solve), atol=1e-7)
    one = peers.lasso(X, 20, steps=5000, tol=1e-10)
    assert np.abs(one - found).max() > 1e-3  # one weight for all is another problem


def test_elastic_is_the_elastic_net(X):
    X = peers.unit(X)

    def solve(A, x):
        share, gamma = 0.8, 30 * 0.8 / np.abs(A.T @ x).max()
        options = {"fit_intercept": False, "tol": 1e-12, "max_iter": 10**5}
        return ElasticNet(1 / gamma / len(x), l1_ratio=share, **options).fit(A, x).coef_

    found = peers.elastic(X, 0.8, 30, steps=5000, tol=1e-10)
    np.testing.assert_allclose(found, column_by_column(X, solve), atol=1e-5)


def test_affine_sparse_meets_the_conditions_of_optimality(X):
    """1ᵀc = 1; x_iᵀ(x_j − Xc) − ν_j is w sign c_i where c_i ≠ 0, at most w in size elsewhere."""
    C = peers.lasso(X, 20, affine=True, steps=20_000, tol=1e-11)
    np.testing.assert_allclose(C.sum(0), 1, atol=1e-8)
    weight = peers.coherence(X).min() / 20
    slope = X.T @ (X - X @ C)
    for j in range(X.shape[1]):
        used = np.abs(C[:, j]) > 1e-7
        signs = np.sign(C[used, j])
        free = slope[used, j] - weight * signs
        nu = free.mean()
        np.testing.assert_allclose(free, nu, atol=1e-6)
        assert np.abs(slope[others(X, j), j] - nu).max() <= weight + 1e-6
    assert np.abs(peers.lasso(X, 20, steps=5000).sum(0) - 1).max() > 0.1


@pytest.mark.parametrize("most", [1, 3, 6])
def test_greedy_is_orthogonal_matching_pursuit(X, most):
    X = peers.unit(X)
    slow = column_by_column(X, lambda A, x: orthogonal_mp(A, x, n_nonzero_coefs=most))
    np.testing.assert_allclose(peers.greedy(X, most), slow, atol=1e-8)


def test_greedy_stops_where_nothing_is_left():
    line = np.outer([1.0, 2.0], [1.0, -1.0, 1.0])
    plane = np.concatenate([peers.unit(line), np.zeros((1, 3))])
    C = peers.greedy(np.concatenate([plane, [[0], [0], [1.0]]], 1))
    assert (np.count_nonzero(C, axis=0) <= 1).all()
    np.testing.assert_allclose(plane @ C[:3, :3], plane, atol=1e-12)


def test_thresholding_by_a_loop(X):
    X = peers.unit(X)
    slow = np.zeros((14, 14))
    for j in range(14):
        cosine = np.abs(X.T @ X[:, j])
        for i in sorted(others(X, j), key=lambda i: -cosine[i])[:3]:
            slow[i, j] = np.exp(-2 * np.arccos(cosine[i]))
    np.testing.assert_allclose(peers.thresholded(X, 3), slow)
    assert peers.near(1000, 10) == 5
    assert peers.near(50, 5) == 3


def test_what_is_thinned_keeps_the_largest(X):
    found = peers.thinned(X, 0.7)
    for j in range(X.shape[1]):
        order, kept, total = np.argsort(-np.abs(X[:, j])), 0.0, np.abs(X[:, j]).sum()
        expected = np.zeros(8)
        for i in order:
            if kept >= 0.7 * total:
                break
            expected[i] = np.abs(X[i, j]) / np.abs(X[order[0], j])
            kept += np.abs(X[i, j])
        np.testing.assert_allclose(found[:, j], expected)
    np.testing.assert_allclose(peers.thinned(X), np.abs(X) / np.abs(X).max(0))


def test_low_rank_of_clean_data_is_the_shape_interaction_matrix():
    g = np.random.default_rng(1)
    X = g.normal(size=(8, 3)) @ g.normal(size=(3, 20))
    P = sl.row_projector(X, 3)
    np.testing.assert_allclose(peers.shape_interaction(X, 3), P, atol=1e-12)
    Z, E = peers.low_rank(X, 100.0)
    np.testing.assert_allclose(Z, P, atol=1e-5)
    assert np.abs(E).max() < 1e-6


def test_low_rank_meets_the_conditions_of_optimality(X):
    """Where no e_j is 0, the dual is λe_j/‖e_j‖, and XᵀY is a subgradient of ‖Z‖_* at Z."""
    weight = 0.2
    Z, E = peers.low_rank(X, weight, growth=1, steps=20_000, tol=1e-10)
    np.testing.assert_allclose(X @ Z + E, X, atol=1e-8)
    length = np.linalg.norm(E, axis=0)
    assert length.min() > 1e-3
    dual = X.T @ (weight * E / length)
    assert np.linalg.norm(Z, "nuc") > 0.1
    assert np.linalg.norm(dual, 2) <= 1 + 1e-5
    assert (dual * Z).sum() == pytest.approx(np.linalg.norm(Z, "nuc"), rel=1e-5)


def test_normalised_cut_by_its_definition():
    g = np.random.default_rng(2)
    W = g.uniform(size=(9, 9))
    W, y = W + W.T, np.arange(9) % 3
    slow = sum(W[y == k][:, y != k].sum() / W[y == k].sum() for k in range(3))
    assert peers.normalised_cut(peers.csr_matrix(W), y, 3) == pytest.approx(slow)


def test_robust_shape_takes_the_rank_of_the_least_cut_over_gap():
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=15, seed=8
    )
    X = sl.add_noise(data, 0.3, seed=9).X.numpy()
    V, found = np.linalg.svd(X, full_matrices=False)[2], {}
    for r in range(3, 13):
        rows = V[:r].T / np.linalg.norm(V[:r], axis=0)[:, None]
        Z = rows @ rows.T
        W = np.where(Z > 0, np.abs(Z) ** 3.5, 0)
        labels = sl.clustering.spectral_labels(peers.csr_matrix(W), 3, np.random.RandomState(0))
        cut = sum(W[labels == k][:, labels != k].sum() / W[labels == k].sum() for k in range(3))
        scale = W.sum(0) ** -0.5
        values = np.linalg.eigvalsh(scale[:, None] * W * scale)
        found[cut / (values[-3] - values[-4])] = labels
    assert np.array_equal(peers.robust_shape(X, 3, 0), found[min(found)])
    assert len({tuple(labels) for labels in found.values()}) > 1


SPECTRAL = [name for name in peers.MOTION if name not in ("k-means", "kNN spectral")]


@pytest.mark.slow
@pytest.mark.parametrize("table", [peers.LINEAR, peers.MOTION])
def test_all_peers_find_what_is_easy(table):
    data = sl.sample_union(
        ambient_dim=60, n_subspaces=3, subspace_dim=4, points_per_subspace=40, seed=3
    )
    X = sl.add_noise(data, 1e-3, seed=4).X.numpy()
    for name in SPECTRAL:
        if name in table:
            found = np.atleast_2d(table[name](X, 3, 0))
            best = max(sl.clustering.accuracy(data.labels, row) for row in found)
            assert best > 0.95, name


# The comparison


@pytest.mark.parametrize("name", side.CASES)
def test_cases_are_what_their_names_say(name):
    X, y, told = side.CASES[name](np.random.default_rng(5))
    assert X.shape[1] == len(y)
    classes = len(np.unique(y[y >= 0]))
    assert told == classes + {"told K − 1": -1, "told K + 1": 1}.get(name, 0)
    assert (y < 0).sum() == (60 if "outliers" in name else 0)


@pytest.mark.parametrize(
    ("more", "rank"), [({}, 20), ({"shared": 2}, 12), ({"shared": 1}, 16), ({"span": 12}, 12)]
)
def test_clean_unions_have_their_rank(more, rank):
    X, y, _ = side.union(np.random.default_rng(6), 0.0, **more)
    assert np.linalg.matrix_rank(X) == rank
    assert all(np.linalg.matrix_rank(X[:, y == k]) == 4 for k in range(5))


def test_outliers_do_not_count():
    y = np.array([0, 0, 1, 1, -1])
    methods = {"any": lambda X, K, seed: np.array([[0, 0, 1, 1, 0], [0, 1, 0, 1, 1]])}
    found = side.compare(methods, np.zeros((2, 5)), y, 2, 0)
    assert found["ari"] == [1]  # the better of two in hindsight
    assert found["error"] == [0]


def test_tracks_are_rescaled_alike_in_both_directions():
    X = np.random.default_rng(7).uniform(100, 600, size=(6, 9))
    Y = side.rescaled(X)
    assert np.abs(Y).max() == pytest.approx(1)
    for i in (0, 1):
        difference = Y[i::2] * (X[0, 1] - X[0, 0]) / (Y[0, 1] - Y[0, 0]) - X[i::2]
        np.testing.assert_allclose(difference, difference[0, 0])


def test_a_small_comparison_runs():
    names = ("this chapter", "TSC")
    config = dataclasses.replace(
        side.Config(), trials=2, cases=("noise 0.1", "told K + 1"), methods=names
    )
    result = run("clustering-peers", config)
    assert result["ari"].shape == (2, 2, 2)
    assert (result["ari"][0] > 0.9).all()


def test_without_the_files_nothing_is_reported(monkeypatch):
    monkeypatch.delenv(side.DATA, raising=False)
    for name in ("clustering-motion", "clustering-images"):
        assert np.isnan(run(name)["ari"]).all()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_scale_is_measured_in_a_fresh_process():
    result = run("clustering-scale", side.ScaleConfig(points=(4000,)))
    assert result["accuracy"][0] > 0.9
    assert 0 < result["megabytes"][0] < 500
    assert result["clock"][0] > 0

import subprocess
import sys

import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import subspace_lib as sl
from subspace_lib import estimator


def union(points=60, variance=0.0, seed=0, K=4, dim=3, ambient=30):
    data = sl.sample_union(
        ambient_dim=ambient,
        n_subspaces=K,
        subspace_dim=dim,
        points_per_subspace=points,
        seed=seed,
    )
    X = sl.add_noise(data, variance=variance, seed=seed + 1).X if variance else data.X
    shuffle = np.random.default_rng(seed).permutation(data.labels.numel())
    return X.T.numpy()[shuffle], data.labels.numpy()[shuffle]


def no_lines(model):
    """Single linkage of |P| has nothing to find in scikit-learn's three round blobs in a plane."""
    if model.assign == "spectral":
        return {}
    return dict.fromkeys(["check_clustering"], "the blobs are no union of independent subspaces")


@parametrize_with_checks(
    [sl.ProjectorClustering(), sl.ProjectorClustering(assign="threshold")],
    expected_failed_checks=no_lines,
)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize("assign", estimator.ASSIGN)
def test_clean_unions_are_recovered_exactly(assign):
    for seed in range(5):
        X, y = union(seed=seed)
        model = sl.ProjectorClustering(4, 12, assign=assign, random_state=0)
        assert sl.clustering.accuracy(y, model.fit_predict(X)) == 1


def test_threshold_agrees_with_single_linkage():
    for seed, variance in enumerate([0.0, 0.01, 0.1, 1.0]):
        X, _ = union(points=25, variance=variance, seed=seed)
        P = sl.row_projector(X.T, 12)
        for K in (2, 4, 7):
            found = sl.ProjectorClustering(K, 12, assign="threshold").fit_predict(X)
            assert sl.clustering.accuracy(sl.clustering.single_linkage(P, K), found) == 1


def test_noise_costs_the_sparse_graph_little_and_single_linkage_everything():
    """Against scikit-learn's spectral clustering of the full |P|, on noise of the signal's size."""
    scores = {"dense": [], "spectral": [], "threshold": []}
    for seed in range(5):
        X, y = union(variance=0.5, seed=seed)
        P = np.abs(sl.row_projector(X.T, 12))
        dense = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(P)
        scores["dense"].append(sl.clustering.accuracy(y, dense))
        for assign in estimator.ASSIGN:
            model = sl.ProjectorClustering(4, 12, assign=assign, random_state=0)
            scores[assign].append(sl.clustering.accuracy(y, model.fit_predict(X)))
    middle = {name: np.median(values) for name, values in scores.items()}
    assert middle["spectral"] > 0.85
    assert middle["spectral"] > middle["dense"] - 0.03
    assert middle["threshold"] < 0.5


def test_digits_beat_the_full_matrix():
    X, y = load_digits(return_X_y=True)
    P = np.abs(sl.row_projector(X.T, 20))
    dense = SpectralClustering(10, affinity="precomputed", random_state=0).fit_predict(P)
    ours = sl.ProjectorClustering(10, 20, random_state=0).fit_predict(X)
    assert sl.clustering.accuracy(y, ours) > sl.clustering.accuracy(y, dense)
    assert sl.clustering.accuracy(y, ours) > 0.75


def test_factor_and_mapping():
    X, _ = union(variance=0.1)
    model = sl.ProjectorClustering(4, 12, random_state=0).fit(X)
    np.testing.assert_allclose(
        model.factor_ @ model.factor_.T, sl.row_projector(X.T, 12), atol=1e-12
    )
    np.testing.assert_allclose(X @ model.mapping_, model.factor_, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e300])
def test_units_do_not_matter(unit):
    X, _ = union(variance=0.01)
    one, other = (sl.ProjectorClustering(4, 12, random_state=0).fit(A) for A in (X, X * unit))
    assert np.array_equal(one.labels_, other.labels_)
    assert np.array_equal(one.predict(X), other.predict(X * unit))


@pytest.mark.parametrize("assign", estimator.ASSIGN)
def test_held_out_samples(assign):
    X, y = union(points=100, variance=0.0 if assign == "threshold" else 0.1)
    model = sl.ProjectorClustering(4, 12, assign=assign, random_state=0).fit(X[:200])
    assert sl.clustering.accuracy(y[200:], model.predict(X[200:])) > 0.97
    assert sl.clustering.accuracy(model.labels_, model.predict(X[:200])) > 0.97


def test_pipeline_and_grid_search_find_the_rank():
    X, y = union(points=80, variance=0.3)
    pipe = make_pipeline(
        FunctionTransformer(lambda A: 2 * A), sl.ProjectorClustering(4, random_state=0)
    )
    grid = {"projectorclustering__rank": [2, 12]}
    for scoring in ("adjusted_rand_score", make_scorer(sl.clustering.accuracy)):
        search = GridSearchCV(pipe, grid, scoring=scoring, cv=3, error_score="raise").fit(X, y)
        assert search.best_params_ == {"projectorclustering__rank": 12}
    assert search.predict(X).shape == y.shape


LARGE = """
import resource
import torch
import subspace_lib as sl

torch.set_num_threads(1)
data = sl.sample_union(
    ambient_dim=30, n_subspaces=5, subspace_dim=3, points_per_subspace={points}, seed=0
)
X = sl.add_noise(data, variance={variance}, seed=1).X.T.numpy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = sl.ProjectorClustering(5, 15, assign="{assign}", random_state=0).fit(X)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(X), sl.clustering.accuracy(data.labels.numpy(), model.labels_), (after - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize(
    ("assign", "points", "variance"), [("spectral", 10_000, 0.1), ("threshold", 4_000, 0.0)]
)
def test_no_square_matrix(assign, points, variance):
    """n = 50,000 (20,000): one n×n array would take 20,000 MB (3,200), half in single precision."""
    code = LARGE.format(assign=assign, points=points, variance=variance)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n, accuracy, megabytes = map(float, run.stdout.split())
    assert n == 5 * points
    assert accuracy > 0.97
    assert megabytes < 600


def test_bad_input():
    X, _ = union(points=10)
    fit = sl.ProjectorClustering
    with pytest.raises(ValueError, match=r"1\.\.12, the numerical rank of X"):
        fit(4, 13).fit(X)
    with pytest.raises(ValueError, match=r"1\.\.12, .* got 0"):
        fit(4, 0).fit(X)
    with pytest.raises(TypeError, match="rank must be an integer or None"):
        fit(4, 2.5).fit(X)
    with pytest.raises(ValueError, match="n_samples = 40, got 41"):
        fit(41, 12).fit(X)
    with pytest.raises(ValueError, match="'spectral', 'threshold', got 'k'"):
        fit(4, 12, assign="k").fit(X)
    with pytest.raises(ValueError, match="n_neighbors must be at least 1"):
        fit(4, 12, n_neighbors=0).fit(X)
    with pytest.raises(ValueError, match="must not be zero"):
        fit(2).fit(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="expecting 30 features"):
        fit(4, 12).fit(X).predict(X[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        fit(2).fit(np.full((5, 3), np.nan))

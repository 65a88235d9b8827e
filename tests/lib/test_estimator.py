import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
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


def test_a_threshold_asks_the_most_similar_sample_and_a_spectrum_its_neighbours():
    X, _ = union(points=20)
    first = int(sl.row_projector(torch.from_numpy(X.T), 12).diagonal().argmax())  # most like itself
    for assign, alone in (("threshold", True), ("spectral", False)):
        model, agrees = sl.ProjectorClustering(4, 12, assign=assign).fit(X), []
        for seed in range(12):
            model.labels_ = np.random.default_rng(seed).integers(0, 4, len(X))
            agrees += [model.predict(X[[first]])[0] == model.labels_[first]]
        assert all(agrees) == alone


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
    ("assign", "points", "variance"),
    [
        pytest.param("spectral", 10_000, 0.1, marks=pytest.mark.long),
        ("threshold", 4_000, 0.0),
    ],
)
def test_no_square_matrix(assign, points, variance):
    """n = 50,000 (20,000): one n×n array would take 20,000 MB (3,200), half in single precision."""
    code = LARGE.format(assign=assign, points=points, variance=variance)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n, accuracy, megabytes = map(float, run.stdout.split())
    assert n == 5 * points
    assert accuracy > 0.97
    assert megabytes < 600


@st.composite
def clean_unions(draw):
    """Samples in rows, of 1 to 12 dimensions a cluster, unbalanced, some directions weak."""
    K = draw(st.integers(2, 6))
    g = np.random.default_rng(draw(st.integers(0, 10**6)))
    dims = g.integers(1, 13, K)
    counts = dims + 1 + g.integers(0, 40, K)
    ambient = dims.sum() + g.integers(0, 30)
    X = [
        (10 ** g.uniform(-1.5, 1.5, (n, 1)) * g.normal(size=(n, d))) @ g.normal(size=(d, ambient))
        for d, n in zip(dims, counts, strict=True)
    ]
    order = g.permutation(counts.sum())
    return np.concatenate(X)[order], np.repeat(np.arange(K), counts)[order]


@given(clean_unions())
@settings(max_examples=30)
def test_clean_unions_are_exact_without_a_rank(case):
    X, y = case
    model = sl.ProjectorClustering(y.max() + 1, random_state=0).fit(X)
    assert sl.clustering.accuracy(y, model.labels_) == 1
    assert sl.clustering.accuracy(y, model.predict(X)) == 1
    assert model.rank_ == np.linalg.matrix_rank(X)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("assign", estimator.ASSIGN)
def test_clean_unions_in_either_precision(kind, assign):
    for seed in range(5):
        X, y = union(seed=seed, dim=6)
        model = sl.ProjectorClustering(4, assign=assign).fit(X.astype(kind))
        assert sl.clustering.accuracy(y, model.labels_) == 1


def test_noise_without_a_rank():
    for seed in range(3):
        X, y = union(variance=0.2, seed=seed)
        model = sl.ProjectorClustering(4, random_state=0).fit(X)
        assert sl.clustering.accuracy(y, model.labels_) > 0.95
        assert (model.ranks_[0], model.ranks_[-1]) == (4, 30)  # K, and all that the data have
        assert sl.clustering.accuracy(y, model.predict(X)) > 0.95


@pytest.mark.parametrize(
    ("assign", "variance", "K"), [("spectral", 0, 4), ("threshold", 0.2, 4), ("threshold", 0.2, 1)]
)
def test_exact_data_and_a_threshold_take_the_rank_of_the_data_alone(assign, variance, K):
    """Also where that is more than sixteen dimensions a cluster."""
    X, _ = union(variance=variance, seed=0)
    model = sl.ProjectorClustering(K, assign=assign).fit(X)
    assert model.ranks_ == (np.linalg.matrix_rank(X),)


@pytest.mark.parametrize(("K", "points", "k"), [(4, 6, 8), (4, 40, 40), (2, 220, 200)])
def test_what_is_not_given_is_as_documented(K, points, k):
    """Ten ranks from one to sixteen dimensions a cluster, neighbours, and the power."""
    X, _ = union(points, variance=0.2, K=K, ambient=80)
    default = sl.ProjectorClustering(K).fit(X)
    high = min(16 * K, len(X) // 2)
    same = sl.ProjectorClustering(K, (K, high), n_neighbors=k, power=5).fit(X)
    assert default.ranks_ == same.ranks_
    assert default._how["scales"] == (8, 4, 2, 1)  # an eighth of the neighbours, …, all of them
    assert len(default.ranks_) == 10 or high - K < 10
    assert (default.graph() != same.graph()).nnz == 0
    one = sl.ProjectorClustering(K, 2 * K).fit(X)
    same = sl.ProjectorClustering(K, 2 * K, n_neighbors=20, power=1).fit(X)
    assert (one.graph() != same.graph()).nnz == 0


@pytest.mark.parametrize("rank", [None, (6, 24), 12])
def test_blank_samples_are_set_apart(rank):
    X, y = union(variance=0.1)
    blank = np.zeros((3, 30))
    for rows in (np.concatenate([blank, X]), np.concatenate([X, blank])):
        with pytest.warns(UserWarning, match="3 of 243 samples are zero"):
            model = sl.ProjectorClustering(4, rank, random_state=0).fit(rows)
        full = rows.any(1)
        assert sl.clustering.accuracy(y, model.labels_[full]) > 0.95
        assert (model.labels_[~full] == np.bincount(model.labels_).argmax()).all()
        assert (model.predict(rows)[~full] == model.labels_[~full][0]).all()
    model = sl.ProjectorClustering(4, rank, blank="noise", random_state=0).fit(rows)
    assert np.array_equal(model.labels_ == -1, ~full)
    assert np.array_equal(model.predict(rows) == -1, ~full)


def test_copies_count_once():
    """25 copies of one sample took part of the graph with them."""
    X, _ = union(variance=0.2)
    copies = np.concatenate([X, np.repeat(X[:1], 25, 0), -0.0 * X[:1] + X[5]])
    one, many = (sl.ProjectorClustering(4, random_state=0).fit(A) for A in (X, copies))
    assert np.array_equal(one.labels_, many.labels_[:240])
    assert (many.labels_[240:265] == one.labels_[0]).all()
    assert many.labels_[265] == one.labels_[5]
    assert many.factor_.shape == (266, one.rank_)
    assert len(many.distinct_) == 240


def test_fewer_distinct_samples_than_clusters():
    X = np.repeat(np.eye(3), 5, 0)
    model = sl.ProjectorClustering(4).fit(X)
    assert len(np.unique(model.labels_)) == 3


@pytest.mark.parametrize("assign", estimator.ASSIGN)
def test_as_many_dimensions_as_samples_warn(assign):
    X = np.random.default_rng(0).normal(size=(20, 50))
    with pytest.warns(UserWarning, match="P = I") as told:
        sl.ProjectorClustering(3, 20, assign=assign).fit(X)
    assert [warning.filename for warning in told] == [__file__]  # the caller's line


def test_order_clone_and_pickle():
    X, _ = union(variance=0.2)
    model = sl.ProjectorClustering(4, power=4, affine=True, random_state=0).fit(X)
    order = np.random.default_rng(3).permutation(len(X))
    other = clone(model).fit(X[order])
    assert sl.clustering.accuracy(model.labels_[order], other.labels_) > 0.99
    back = pickle.loads(pickle.dumps(model))
    assert np.array_equal(back.predict(X), model.predict(X))


def test_tensors():
    X, _ = union(variance=0.2)
    one, other = (sl.ProjectorClustering(4, random_state=0) for _ in range(2))
    assert np.array_equal(one.fit_predict(X), other.fit_predict(torch.from_numpy(X)))
    assert np.array_equal(one.predict(X), other.predict(torch.from_numpy(X).requires_grad_()))
    with pytest.raises(TypeError, match=r"X must be dense.*to_dense"):
        one.fit(torch.from_numpy(X).to_sparse())


def test_affine_subspaces():
    """Parallel planes off the origin: without the constant feature they share two dimensions."""
    g = np.random.default_rng(0)
    plane, y = g.normal(size=(2, 20)), np.repeat([0, 1, 2], 60)
    X = g.normal(size=(180, 2)) @ plane + g.normal(size=(3, 20))[y]
    X += 0.05 * g.normal(size=X.shape)
    model = sl.ProjectorClustering(3, affine=True, random_state=0).fit(X)
    np.testing.assert_allclose(X @ model.mapping_ + model.offset_, model.factor_, atol=1e-10)
    assert model.offset_.any()
    assert not sl.ProjectorClustering(3).fit(X).offset_.any()


def test_the_display():
    X, _ = union(variance=0.1)
    model = sl.ProjectorClustering(4, random_state=0).fit(X)
    found = sl.figures.ClusteringDisplay.from_estimator(model)
    assert len(found.eigenvalues) == 8
    assert (np.diff(found.eigenvalues) <= 1e-9).all()
    assert found.eigenvalues[3] - found.eigenvalues[4] > 0.1  # the gap after K
    assert found.figure_ is found.axes_[0].figure
    assert found.embedding.shape == (240, 2)


DATA = Path(os.environ.get("SUBSPACE_DATA", "../shared/data")) / "hopkins155-two"
TRACKS = DATA / "hopkins155-two.npz"


@pytest.mark.slow
@pytest.mark.skipif(not TRACKS.exists(), reason=f"{TRACKS} is not there: set SUBSPACE_DATA")
def test_two_motions_without_a_rank():
    """Constants were chosen on the even half; the other half and all of them are reported."""
    errors, odd = [], []
    with np.load(TRACKS) as data:
        for name in data["names"]:
            X, y = data[f"tracks/{name}"].T, data[f"labels/{name}"]
            found = sl.ProjectorClustering(2, random_state=0).fit_predict(X)
            errors.append(100 * (1 - sl.clustering.accuracy(y, found)))
            odd.append(zlib.crc32(str(name).encode()) % 2 == 1)
    assert len(errors) == 120
    assert np.mean(errors) <= 1.0
    assert np.mean(np.array(errors)[odd]) <= 1.0


def test_bad_input():
    X, _ = union(points=10)
    fit = sl.ProjectorClustering
    with pytest.raises(ValueError, match=r"1\.\.12, the numerical rank of X"):
        fit(4, 13).fit(X)
    with pytest.raises(ValueError, match=r"1\.\.12, .* got 0"):
        fit(4, 0).fit(X)
    with pytest.raises(TypeError, match=r"rank must be an integer, \(low, high\) or None"):
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


def test_a_negative_zero_is_a_zero():
    X, _ = union()
    X = np.vstack([X, X[0]])
    X[0, 0], X[-1, 0] = 0.0, -0.0
    model = sl.ProjectorClustering(4, 12).fit(X)
    assert len(model.distinct_) == len(X) - 1

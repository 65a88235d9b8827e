import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

import subspace_lib as sl

SIZES = {"ambient_dim": 12, "n_subspaces": 3, "subspace_dim": 2, "points_per_subspace": 7}


@given(st.integers(0, 10**6))
def test_factors_blocks_and_rank(seed):
    data = sl.sample_union(**SIZES, trials=2, seed=seed)
    assert data.X.shape == (2, 12, 21)
    assert torch.allclose(data.X, data.bases @ data.coefficients)
    outside = torch.arange(6)[:, None] // 2 != data.labels[None, :]
    assert (data.coefficients[:, outside] == 0).all()
    basis = data.bases[..., 2:4]
    assert torch.allclose(basis.mT @ basis, torch.eye(2, dtype=basis.dtype))
    assert sl.projectors.numerical_rank(data.X).tolist() == [6, 6]


@given(st.integers(0, 100), st.integers(0, 9))
def test_a_trial_alone_equals_the_same_trial_among_many(seed, trial):
    many = sl.add_noise(sl.sample_union(**SIZES, trials=10, seed=seed), 0.3, seed=seed)
    alone = sl.add_noise(sl.sample_union(**SIZES, trials=[trial], seed=seed), 0.3, seed=seed)
    assert torch.equal(many.X[trial], alone.X[0])
    assert not torch.equal(many.X[trial], many.X[(trial + 1) % 10])


def test_global_random_state_is_not_touched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    sl.sample_union(**SIZES, seed=0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("variance", [0.01, 1.0])
def test_noise_conventions_have_the_stated_size(variance):
    big = {**SIZES, "ambient_dim": 200, "points_per_subspace": 100}
    data = sl.sample_union(**big, seed=0)
    relative = sl.add_noise(data, variance, seed=1)
    ratio = float(relative.noise.square().sum() / relative.clean.square().sum())
    assert ratio == pytest.approx(variance, rel=0.05)
    absolute = sl.add_noise(data, variance, "absolute", seed=1)
    assert float(absolute.noise.var()) == pytest.approx(variance, rel=0.05)
    assert torch.equal(sl.add_noise(relative, variance, seed=1).X, relative.X)


def test_zero_noise_is_clean_and_lists_give_uneven_clusters():
    data = sl.sample_union(ambient_dim=9, subspace_dim=[1, 3], points_per_subspace=[4, 6], seed=0)
    assert data.labels.tolist() == [0] * 4 + [1] * 6
    assert torch.equal(sl.add_noise(data, 0, seed=0).X, data.X)
    whole = sl.sample_union(ambient_dim=3, subspace_dim=[1, 3], points_per_subspace=4, seed=0)
    assert torch.linalg.matrix_rank(whole.X) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subspace_dim": 13}, "at most ambient_dim = 12"),
        ({"n_subspaces": 0}, "at least 1"),
        ({"subspace_dim": [1, 2]}, "n_subspaces = 3"),
        ({"trials": []}, "int ≥ 1 or a sequence"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"bases": np.eye(5)}, "bases must have shape"),
    ],
)
def test_bad_sizes_say_what_was_expected(change, message):
    with pytest.raises(ValueError, match=message):
        sl.sample_union(**{**SIZES, "seed": 0, **change})


def test_bad_noise_says_what_was_expected():
    data = sl.sample_union(**SIZES, seed=0)
    with pytest.raises(ValueError, match="'relative', 'absolute'"):
        sl.add_noise(data, 0.1, "loud", seed=0)
    with pytest.raises(ValueError, match="≥ 0"):
        sl.add_noise(data, float("nan"), seed=0)
    with pytest.raises(TypeError, match="sample_union makes one"):
        sl.add_noise(data.X, 0.1, seed=0)


def test_observed_data_are_split_at_the_rank():
    iris = load_iris()
    data = sl.from_matrix(iris.data.T, iris.target, rank=2)
    _, s, V = np.linalg.svd(iris.data.T, full_matrices=False)
    assert (data.rank, data.n_clusters) == (2, 3)
    assert np.allclose(data.noise.square().sum(), (s[2:] ** 2).sum())  # Eckart–Young
    assert np.allclose(sl.row_projector(data.clean, 2), V[:2].T @ V[:2])
    assert torch.allclose(data.bases @ data.coefficients, data.clean)


def test_observed_data_need_no_square_of_the_points(monkeypatch):
    sizes, svd = [], torch.linalg.svd

    def watched(*args, **options):
        found = svd(*args, **options)
        sizes.extend(part.numel() for part in found)
        return found

    monkeypatch.setattr("torch.linalg.svd", watched)
    X = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    sl.from_matrix(X, np.arange(200) % 2, rank=2)
    assert 0 < max(sizes) <= X.numel()


def test_networks_train_on_observed_data():
    iris = load_iris()
    data = sl.from_matrix(iris.data.T, iris.target, rank=2)
    network = sl.FeedForward((4, 6, 3), bias=True)
    options = dict(objective="classify", optimizer="adam", lr=0.05, normalize="data", steps=60)
    measure = sl.diagnostics.Diagnostics(data, groups=["distances"])
    run = sl.train(network, data, trials=3, checkpoints=2, measure=measure, **options)
    assert run.accuracy.shape == (2, 3)
    assert np.median(run.accuracy[-1]) > 0.8
    slow = [
        float(sl.projection_distance(iris.data.T, layer.post, 2, norm="spectral"))
        for layer in network.layers({k: p[1:2].double() for k, p in run.params.items()}, data.X)
    ]
    assert np.allclose(run["clean_to_post_spectral"][-1, :, 1], slow, atol=1e-8)


@pytest.mark.parametrize(
    ("labels", "rank", "message"),
    [
        ([0, 1, 2, 0], 2, "one label per column"),
        ([0, 1, 3, 0, float("nan")], 2, "finite"),
        ([0, 1, 0, 1, 0], 3, "numerical rank"),
    ],
)
def test_bad_observed_data_say_what_was_expected(labels, rank, message):
    X = np.random.default_rng(0).normal(size=(6, 2)) @ np.random.default_rng(1).normal(size=(2, 5))
    with pytest.raises(ValueError, match=message):
        sl.from_matrix(X, labels, rank)


def noisy(trials=5, seed=0):
    return sl.add_noise(sl.sample_union(**SIZES, trials=trials, seed=seed), 0.3, seed=seed + 1)


def same(a, b):
    tensors = all(torch.equal(getattr(a, k), getattr(b, k)) for k in sl.data.TENSORS)
    return tensors and torch.equal(a.labels, b.labels) and a.trials == b.trials


CHOICES = [
    slice(1, 3),
    slice(None, None, -2),
    [0, 4],
    np.array([3]),
    torch.tensor([2, 0]),
    torch.tensor([True, False, False, True, True]),
    [False, True, False, False, False],
]


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_chosen_trials_are_those_that_are_drawn_alone(chosen):
    data = noisy()
    some = data[chosen]
    positions = torch.arange(5).numpy()[chosen].tolist()
    alone = sl.sample_union(**SIZES, trials=positions, seed=0)
    assert same(some, sl.add_noise(alone, 0.3, seed=1))
    assert same(sl.add_noise(some, 0.3, seed=1), some)  # the streams go with the trials


def test_one_trial_has_no_trial_axis():
    data = noisy()
    one = data[-1]
    assert one.X.shape == (12, 21)
    assert one.trials == (4,)
    assert torch.equal(one.X, data.X[4])
    assert [part.trials for part in data] == [(0,), (1,), (2,), (3,), (4,)]
    assert same(sl.add_noise(one, 0.3, seed=1), one)


@given(st.integers(0, 100), st.lists(st.integers(0, 4), min_size=1, unique=True))
def test_stack_joins_what_was_taken_apart(seed, order):
    data = noisy(seed=seed)
    assert same(sl.data.stack([data[t] for t in order]), data[order])
    assert same(sl.data.stack([data[order[:1]], *(data[t] for t in order[1:])]), data[order])


@given(st.integers(0, 100), st.sampled_from([1e-3, 0.5, 200.0]))
def test_scaled_data_are_the_same_data_in_another_unit(seed, c):
    data = noisy(seed=seed)
    big = data.scaled(c)
    assert torch.equal(big.X, c * data.X)
    assert torch.equal(big.clean, c * data.clean)
    assert torch.allclose(big.bases @ big.coefficients, big.clean)
    assert torch.equal(big.bases, data.bases)
    for convention in (
        "relative",
        "absolute",
    ):  # the noise that is stated is the noise that is there
        loud = sl.add_noise(data, 0.2, convention, seed=9).scaled(c)
        assert torch.allclose(sl.add_noise(loud, loud.noise_variance, convention, seed=9).X, loud.X)


def test_observed_splits_stack_with_their_own_indices():
    iris = load_iris()
    order = np.argsort(iris.target, kind="stable")
    halves = [order[start::2] for start in (0, 1)]
    parts = [
        sl.from_matrix(iris.data[half].T, iris.target[half], rank=2, trial=t)
        for t, half in enumerate(halves)
    ]
    both = sl.data.stack(parts)
    assert type(both) is sl.data.ObservedData
    assert (both.n_clusters, both.rank, both.trials) == (3, 2, (0, 1))
    assert same(both[1], parts[1])
    with pytest.raises(ValueError, match="trial=t"):
        sl.data.stack([parts[0], parts[0]])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda d: d[5], IndexError, "among 0..4"),
        (lambda d: d[[0, -6]], IndexError, "among 0..4"),
        (lambda d: d[[True, False]], IndexError, "boolean each"),
        (lambda d: d["first"], IndexError, "among 0..4"),
        (lambda d: d[5:], IndexError, "non-empty list"),
        (lambda d: d[[[0, 1]]], IndexError, "non-empty list"),
        (lambda d: d[0][0], TypeError, "must have a trial axis"),
        (lambda d: d.scaled(-1), ValueError, "factor must be"),
        (lambda d: d.scaled(float("inf")), ValueError, "finite"),
        (lambda d: sl.data.stack([]), ValueError, "at least one"),
        (lambda d: sl.data.stack([d[0].X]), TypeError, "sample_union makes one"),
        (lambda d: sl.data.stack([d[0], d[1].scaled(2.0), d[0]]), ValueError, "different trial"),
        (lambda d: sl.data.stack([d[0], sl.add_noise(d[1], 0.1, seed=0)]), ValueError, "agree in"),
        (lambda d: sl.data.stack([d[0], union_of_lines()]), ValueError, "agree in"),
    ],
)
def test_what_cannot_be_taken_apart_or_joined_says_why(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(noisy())


def union_of_lines():
    return sl.sample_union(
        ambient_dim=12, subspace_dim=[1, 1], points_per_subspace=[10, 11], seed=0
    )

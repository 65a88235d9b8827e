"""Non-negative features: splits, starts, measures, and a judge that can go either way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.nonnegative_features import claims as judge
from evidence.nonnegative_features import experiment as lab
from evidence.results import save

EXPERIMENT = find("nonnegative-features")
TINY = replace(EXPERIMENT.quick, trials=2, steps=6, marks=(0, 2, 6))
BASE = {
    "data": "wine",
    "scaling": "unit",
    "hidden": 1,
    "bias": True,
    "objective": "classify",
    "optimizer": "adam",
    "init": "usual",
    "lr": 0.01,
}


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


@pytest.fixture(scope="module")
def wine():
    return lab.splits("wine", trials=3)


def test_points_are_distinct_and_complete(tiny):
    keys = [tuple(sorted(p.items())) for p in tiny.settings]
    assert len(set(keys)) == len(keys)
    for hidden, starts in ((1, len(lab.STARTS) - 1), (3, len(lab.STARTS))):
        chosen = [
            p
            for p in tiny.settings
            if p["hidden"] == hidden and p["optimizer"] == "gd" and p["scaling"] == "unit"
        ]
        assert len(chosen) == starts
    for name in ("loss", "accuracy", "held_out"):
        assert tiny[name].shape == (len(keys), 3, 2)
    assert tiny["share_r1"].shape == (len(keys), 3, 2, 3)


def test_splits_are_stratified_disjoint_and_scaled(wine):
    data, test = wine
    X, labels = lab._loaded("wine")
    assert data.X.shape[-1] + test.X.shape[-1] == X.shape[1]
    for part in wine:
        shares = np.bincount(part.labels) / len(part.labels)
        np.testing.assert_allclose(shares, np.bincount(labels) / len(labels), atol=0.02)
    torch.testing.assert_close(data.X.amin(-1), torch.zeros(3, 13).double())
    torch.testing.assert_close(data.X.amax(-1), torch.ones(3, 13).double())
    assert not torch.equal(data.X[0], data.X[1])
    for trial in range(3):
        inside, outside = lab._split(labels, 2 / 3, 0, trial)
        assert sorted([*inside, *outside]) == list(range(len(labels)))


def test_held_out_columns_do_not_move_the_scale():
    X = np.array([[1.0, 3.0, 100.0], [5.0, 5.0, 7.0]])
    unit = lab._scaled(X, np.array([0, 1]), "unit")
    np.testing.assert_allclose(unit, [[0, 1, 49.5], [0, 0, 0]])  # a constant feature is dropped
    standard = lab._scaled(X, np.array([0, 1]), "standard")
    np.testing.assert_allclose(standard[0], [-1, 1, 98])
    np.testing.assert_array_equal(lab._scaled(X, np.array([0, 1]), "raw"), X)
    with pytest.raises(ValueError, match="scaling"):
        lab._scaled(X, np.array([0]), "log")


def test_one_trial_is_the_same_alone(wine):
    data, _ = lab.splits("wine", trials=(2,))
    torch.testing.assert_close(data.X[0], wine[0].X[2])
    net = sl.FeedForward((13, 8, 3), bias=True)
    for name in lab.STARTS:
        alone = lab.start(net, name, data.X, trials=(2,), seed=1)
        among = lab.start(net, name, wine[0].X, trials=(0, 1, 2), seed=1)
        for key in alone:
            torch.testing.assert_close(alone[key][0], among[key][2], msg=f"{name} {key}")


@pytest.mark.parametrize("name", lab.STARTS)
def test_starts_are_what_they_are_called(name, wine):
    X = wine[0].X
    net = sl.FeedForward((13, 8, 6, 3), bias=True)
    found = lab.start(net, name, X, trials=(0, 1, 2), seed=1)
    usual = net.init("usual", trials=3, seed=1)
    kind, _, scope = name.partition("-")
    for i, key in enumerate(("W1", "W2", "W3")):
        W, f = found[key], usual[key].shape[-1]
        changed = not scope or i == 0 or (scope == "hidden" and i < 2)
        if kind in ("uniform", "absolute", "mean"):
            assert bool((W >= 0).all()) == changed
        size = {"uniform": f**0.5, "absolute": 1, "mean": 2 / f**0.5}.get(kind)
        if size is not None:
            expected = size * usual[key].abs() if changed else usual[key]
            torch.testing.assert_close(W, expected)
        if kind == "centred":
            torch.testing.assert_close(W.sum(-1), torch.zeros_like(W[..., 0]), atol=1e-5, rtol=0)
        if kind == "orthogonal" and i == 0:  # 8 rows of length 13
            torch.testing.assert_close(W @ W.mT, torch.eye(8).expand(3, -1, -1))
    layers = net.layers({k: p.double() for k, p in found.items()}, X)
    if kind == "shifted" or scope == "shifted":
        for layer in layers:  # open, and only just
            assert float(layer.pre.min()) >= 0
            assert (layer.pre.amin(-1) <= 1e-4 * layer.pre.amax(-1)).all()
    else:
        assert all(not found[f"b{i}"].any() for i in (1, 2, 3))


def test_bad_starts_are_refused(wine):
    X = wine[0].X
    with pytest.raises(ValueError, match="init must be one of"):
        lab.start(sl.FeedForward((13, 4, 3)), "positive", X, trials=3, seed=0)
    with pytest.raises(ValueError, match="needs biases"):
        lab.start(sl.FeedForward((13, 4, 3)), "shifted", X, trials=3, seed=0)


def test_measures_are_the_slow_obvious_ones(wine):
    data = wine[0]
    g = torch.Generator().manual_seed(0)
    pre = torch.randn(3, 8, 13, generator=g).double() @ data.X
    pre[1, 2] = -1.0  # a dead unit
    Y = torch.relu(pre)
    R = lab.row_space(data)
    found = lab.describe(pre, Y, R)
    silent = [[float(row.max()) == 0 for row in A] for A in Y]
    assert silent[1][2]
    np.testing.assert_allclose(found["dead_share"], np.mean(silent, 1))
    torch.testing.assert_close(found["negative_share"], (pre < 0).double().mean((1, 2)))
    s = torch.linalg.svdvals(Y).square()
    torch.testing.assert_close(found["participation"], s.sum(-1) ** 2 / s.square().sum(-1))
    torch.testing.assert_close(found["condition"], s[:, 0] / s[:, data.rank - 1])
    both = sl.row_basis(data.X, data.rank) @ sl.row_basis(Y, data.rank + 1).mT
    torch.testing.assert_close(found["share_r1"], both.square().sum((1, 2)) / data.rank)
    dead = lab.describe(-pre.abs(), torch.zeros_like(Y), R)
    assert (dead["participation"] == 0).all()
    assert (dead["dead_share"] == 1).all()


@pytest.mark.parametrize("n", [6, 7, 20, 21, 100])
def test_the_interval_covers_the_median(n):
    ranks = lab.median_interval(np.arange(1.0, n + 1))
    k = int(ranks[0])
    assert ranks[2] == n + 1 - k
    assert 2 * binom.cdf(k - 1, n, 0.5) <= 0.05 < 2 * binom.cdf(k, n, 0.5)
    low, _, high = lab.median_interval(np.random.default_rng(0).standard_normal((4000, n)))
    assert ((low <= 0) & (high >= 0)).mean() >= 0.94


def test_the_interval_counts_failures_as_bad():
    low, middle, high = lab.median_interval(np.array([1.0, 2.0, np.nan, np.nan, np.nan, 3.0, 4.0]))
    assert (low, middle, high) == (1.0, 4.0, np.inf)


def test_epochs_to_a_level():
    history = np.array([[1.0, 1.0], [0.85, np.nan], [0.5, np.nan], [0.95, np.nan]])
    reached = lab.steps_to(history, 1.0)
    assert reached[lab.LEVELS.index(0.9)].tolist() == [1, lab.NEVER]
    assert reached[lab.LEVELS.index(0.5)].tolist() == [2, lab.NEVER]
    assert reached[lab.LEVELS.index(0.4)].tolist() == [lab.NEVER, lab.NEVER]


@pytest.mark.parametrize("objective", ["classify", "reconstruct"])
def test_the_gradient_is_that_of_training(objective):
    data, _ = lab.splits("wine", trials=2)
    net = sl.FeedForward((13, 8, 3 if objective == "classify" else 13), bias=True)
    first = lab.start(net, "usual", data.X, trials=2, seed=1)
    step = sl.train(
        net,
        data,
        init=first,
        objective=objective,
        optimizer="gd",
        lr=1e-3,
        steps=1,
        normalize="data",
        progress=False,
        dtype=torch.float64,
    )
    moved = sum((step.params[k] - first[k].double()).flatten(1).square().sum(1) for k in first)
    found = lab.gradient_norm(net, first, data, objective)
    torch.testing.assert_close(found, moved.sqrt() / 1e-3, rtol=1e-5, atol=0)


def test_a_stored_trial_is_a_live_one(tiny):
    for point in tiny.settings[::5]:
        alone = EXPERIMENT.compute(replace(TINY, trials=1), point, "cpu")
        stored = tiny.at(**point)
        for name in ("loss", "held_out"):
            np.testing.assert_allclose(alone[name], stored[name][:, :1], rtol=1e-3, atol=1e-3)


def test_an_idle_relu_is_measured_as_one(tiny):
    for init in (*lab.POSITIVE, "shifted", "orthogonal-shifted"):
        for hidden in (1, 3):
            if (init, hidden) == ("absolute-hidden", 1):
                continue
            start = tiny.at(**BASE | {"init": init, "hidden": hidden})["negative_share"][0, 0]
            assert (start == 0).all(), init
    assert tiny.at(**BASE)["negative_share"][0, 0, 1] > 0.3


def judged(run, tmp_path, **arrays):
    save(replace(run, arrays=run.arrays | arrays), tmp_path)
    return evidence.judge("nonnegative-practice", tmp_path)


def outcome(run, winners):
    """Arrays in which the given points win on structure, speed and accuracy, the others tie."""
    wins = np.array([winners(p) for p in run.settings])
    share = np.full_like(run["share_r1"], 0.5)
    share[wins] = 0.9
    held_out = np.full_like(run["held_out"], 0.8)
    classify = np.array([p["objective"] == "classify" for p in run.settings])
    held_out[wins & classify], held_out[wins & ~classify] = 0.9, 0.7  # accuracy, error
    reached = np.full_like(run["reached"], 10)
    reached[wins] = 5
    return {"share_r1": share, "held_out": held_out, "reached": reached}


def test_the_judge_can_go_each_way(tiny, tmp_path):
    for winners, verdict in (
        (lambda p: p["init"] == "uniform", "holds"),  # as printed
        (lambda p: p["init"] == "mean", "holds under conditions"),
        (lambda p: p["init"] == "mean" and p["hidden"] == 3, "holds under conditions"),
        (lambda p: p["init"] in ("usual", "shifted", "centred"), "fails"),
        (lambda p: False, "fails"),
    ):
        found = judged(tiny, tmp_path, **outcome(tiny, winners))
        assert found.verdict == verdict
        assert len(found.measured) > 100


@pytest.mark.parametrize("missing", ["share_r1", "held_out", "reached"])
def test_a_sweet_spot_needs_all_three(tiny, tmp_path, missing):
    arrays = outcome(tiny, lambda p: p["init"] in lab.POSITIVE)
    assert judged(tiny, tmp_path, **arrays).verdict == "holds"
    tied = outcome(tiny, lambda p: False)[missing]
    assert judged(tiny, tmp_path, **arrays | {missing: tied}).verdict == "fails"


@pytest.mark.slow
def test_the_best_rate_is_chosen_on_the_training_loss():
    config = replace(TINY, adam=(0.001, 0.01, 0.1))
    found = run(EXPERIMENT, config)
    loss, held_out = np.ones_like(found["loss"]), np.ones_like(found["held_out"])
    for i, p in enumerate(found.settings):
        loss[i, -1] = {0.001: 0.5, 0.01: 0.2, 0.1: np.nan}.get(p["lr"], 1.0)
        held_out[i, -1] = {0.001: 0.9, 0.01: 0.1, 0.1: 0.9}.get(p["lr"], 1.0)
    race = judge.Race(replace(found, arrays=found.arrays | {"loss": loss, "held_out": held_out}))
    for setting in race.settings(optimizer="adam", objective="classify"):
        for init in race.starts(setting):
            assert found.settings[race.best(setting, init)]["lr"] == 0.01


def test_never_counts_as_one_epoch_more(tiny):
    reached = np.full_like(tiny["reached"], lab.NEVER)
    race = judge.Race(replace(tiny, arrays=tiny.arrays | {"reached": reached}))
    assert race.epochs(0, 0).tolist() == [TINY.steps + 1] * 2
    found = race.comparisons()
    assert all(c.never and not c.faster and not c.slower for c in found)
    assert {c.init for c in found} == set(lab.POSITIVE)


def test_the_target_is_where_a_tenth_is_left(tiny):
    loss = np.array(tiny["loss"])
    loss[:, 0], loss[:, -1] = 0.95 * np.log(3), 0.0  # a tenth left at 0.095 log 3
    race = judge.Race(replace(tiny, arrays=tiny.arrays | {"loss": loss}))
    for setting in race.settings(objective="classify", scaling="unit"):
        assert lab.LEVELS[race.target(setting)] == 0.1

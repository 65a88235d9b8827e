"""What opens the gates: the measures, the starts, and what the stored sweep says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.gates import experiment as gates
from evidence.gates import starts
from evidence.gates.statements import linear_flow
from evidence.results import load_result
from evidence.setting import paper_data

SWEEP, DECODERS, REACH = find("gates"), find("gates-decoder"), find("gates-reach")
TINY = replace(SWEEP.quick, trials=2, times=(0.0, 1.0, 3.0), adam=(0, 5, 10))


@pytest.fixture(scope="module")
def tiny():
    return run(SWEEP, TINY)


@pytest.fixture(scope="module")
def sweep():
    return evidence.load_result("gates")


def ends(result, name, **setting):
    """Median over the trials at the last checkpoint, by factor."""
    factors = sorted({s["factor"] for s in result.settings})
    chosen = [result.index(factor=f, **setting) for f in factors]
    return dict(zip(factors, np.median(result[name][chosen, -1], -1), strict=True))


def test_every_factor_has_a_bias_and_the_ends_go_without():
    found = gates.settings(gates.Config())
    assert {s["factor"] for s in found if s["bias"]} == set(gates.Config().factors)
    assert {s["factor"] for s in found if not s["bias"]} == {1.0, 160.0}


def test_stable_rate_counts_the_constant_feature():
    X = torch.diag(torch.tensor([3.0, 1.0, 0.5]))
    assert gates.stable_rate(X, False) == pytest.approx(1 / 9)
    assert gates.stable_rate(X, True) == pytest.approx(1 / 12)


def test_measures_of_a_layer_whose_gates_are_known():
    g = torch.Generator().manual_seed(0)
    data = evidence.setting.paper_data(gates.Config(trials=2, **evidence.setting.SMALL), 0.1)
    W = torch.randn(2, 24, data.X.shape[-2], generator=g, dtype=torch.float64)
    pre = W @ data.X
    found = gates.Gates(data)._measure(pre, torch.relu(pre), data.clean)
    assert torch.allclose(found["negative_share"], (pre <= 0).double().mean((-2, -1)))
    assert not found["opened"].any()
    assert not found["closed"].any()
    assert torch.allclose(found["learned_first"], torch.ones(2, dtype=torch.float64))
    assert torch.allclose(found["learned_last"], torch.ones(2, dtype=torch.float64))
    assert (found["affine_r"] <= found["affine_r1"] + 1e-12).all()


@pytest.mark.parametrize("decoder", starts.DECODERS)
def test_decoders_keep_the_usual_size(decoder):
    g = torch.Generator().manual_seed(1)
    params = {
        "W1": torch.randn(3, 5, 7, generator=g),
        "b1": torch.zeros(3, 5),
        "W2": torch.randn(3, 7, 5, generator=g),
    }
    D = starts.with_decoder(params, decoder)["W2"]
    along = (D.mT * params["W1"]).sum(-1)
    if decoder == "zero":
        assert not D.any()
    else:
        assert torch.allclose(D.norm(dim=(-2, -1)), params["W2"].norm(dim=(-2, -1)))
        assert ((along > 0) == (decoder == "towards")).all()


def test_mirrored_units_cancel():
    params = {"W1": torch.randn(2, 6, 4), "b1": torch.ones(2, 6), "W2": torch.ones(2, 4, 6)}
    W = starts.mirrored(params)["W1"]
    assert torch.equal(W[:, :3], -W[:, 3:])


def test_sufficient_bias_is_that_of_the_theorem():
    X = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))[None]
    W = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)
    expected = 2 * (16 + 1 + 5**0.5) ** 0.5
    assert starts.sufficient_bias(X, W, 2).item() == pytest.approx(expected)


def test_gradient_descent_opens_the_gates_inside_a_window_only(sweep):
    share = ends(sweep, "negative_share", bias=True, optimizer="gd", rate=0.1)
    assert share[1.0] > 0.8  # the bias outruns the signal
    assert share[40.0] < 0.1
    assert share[160.0] > 0.4  # too slow a feature
    kept = ends(sweep, "affine_r1", bias=True, optimizer="gd", rate=0.1)
    assert max(kept, key=kept.get) == min(share, key=share.get)


def test_at_the_edge_of_stability_the_window_closes(sweep):
    share = ends(sweep, "negative_share", bias=True, optimizer="gd", rate=1.0)
    assert min(share.values()) > 0.4


def test_without_a_bias_the_scale_changes_nothing(sweep):
    for rate in gates.Config().shares:
        ones = [
            sweep["negative_share"][sweep.index(factor=f, bias=False, optimizer="gd", rate=rate)]
            for f in (1.0, 160.0)
        ]
        np.testing.assert_allclose(*ones, atol=0.02)


def test_a_decoder_of_zero_opens_what_the_usual_one_closes():
    found = evidence.load_result("gates-decoder")
    zero, away = (
        np.median(found["negative_share"][found.index(decoder=d, factor=1.0), -1])
        for d in ("zero", "away")
    )
    assert zero < 0.5 < away


def test_the_sufficient_bias_keeps_the_gates_open_with_noise_and_adam_too():
    found = evidence.load_result("gates-reach")
    for factor in (1.0, 40.0):
        i = found.index(start="mirrored", multiple=1.0, factor=factor)
        assert (found["negative_share"][i] < 1e-3).all()  # proved: 0 for flow without noise


def test_a_factor_without_bias_changes_nothing(tiny):
    bare = [i for i, p in enumerate(tiny.settings) if not p["bias"] and p["optimizer"] == "gd"]
    first, *others = bare
    assert others
    for i in others:
        assert tiny.settings[i]["factor"] != tiny.settings[first]["factor"]
        for name in ("negative_share", "share_r1", "loss"):
            np.testing.assert_allclose(tiny[name][i], tiny[name][first], atol=1e-4, err_msg=name)


def test_gates_that_open_and_close_add_up(tiny):
    start, end = tiny["negative_share"][:, :1], tiny["negative_share"]
    moved = start * (1 - tiny["opened"]) + (1 - start) * tiny["closed"]
    np.testing.assert_allclose(moved, end, atol=1e-6)


def test_the_numbers_are_those_of_plain_functions(tiny):
    point = {"factor": 30.0, "bias": True, "optimizer": "gd", "rate": 0.3}
    i = tiny.index(**point)
    data = paper_data(TINY, TINY.variance).scaled(30.0)
    net = sl.FeedForward((TINY.ambient_dim, TINY.hidden, TINY.ambient_dim), bias=True)
    lr = 0.3 * gates.stable_rate(data.X[0], True) / 2
    trained = sl.train(net, data, lr=lr, steps=10, seed=TINY.seed + 2)
    layer = net.layers({k: p.double() for k, p in trained.params.items()}, data.X)[0]
    assert tiny["steps"][i].tolist() == [0, 4, 10]
    negative = (layer.pre <= 0).double().mean((1, 2))
    np.testing.assert_allclose(tiny["negative_share"][i, -1], negative, atol=1e-3)
    V = sl.row_basis(layer.post, data.rank + 1)
    R = sl.reference.affine_reference(data.clean, data.rank)
    share = (V @ R.mT).square().sum((1, 2)) / (data.rank + 1)
    np.testing.assert_allclose(tiny["affine_r1"][i, -1], share, atol=1e-3)
    weakest = torch.linalg.svdvals(data.clean)[:, data.rank - 1]
    ratio = data.X.shape[-1] / weakest**2
    np.testing.assert_allclose(tiny["a2n_over_sr"][i], ratio, rtol=1e-5)


def test_a_unit_that_sees_nothing_is_dead_and_a_trial_that_diverged_is_nan():
    data = paper_data(TINY, 0.1)
    net = sl.FeedForward((TINY.ambient_dim, TINY.hidden, TINY.ambient_dim), bias=True)
    params = net.init(trials=data.trials, seed=0)
    params["b1"][0] = -100.0
    measure = gates.Gates(data)
    now = sl.trajectory.Checkpoint(0, params, np.array([1.0, np.nan]), np.zeros(2))
    found = measure(net, now)
    assert found["dead_units"][0] == 1
    assert found["share_r1"][0] == 0
    assert all(np.isnan(values[1]) for values in found.values())


def test_the_sufficient_bias_suffices_along_the_flow():
    clean = sl.sample_union(
        ambient_dim=12, n_subspaces=2, subspace_dim=2, points_per_subspace=10, trials=3, seed=0
    ).X
    X = clean - clean.mean(-1, keepdim=True)
    net = sl.FeedForward((12, 8, 12), bias=True)
    W = starts.mirrored(net.init(trials=3, seed=1, dtype=torch.float64))["W1"]
    enough = starts.sufficient_bias(X, W, 4)
    step = 0.1 / torch.linalg.matrix_norm(X, 2).square()[:, None, None]
    for W_t, _ in linear_flow(W, 0 * W.mT, X @ X.mT, step):
        assert ((W_t @ X).abs().amax((1, 2)) < enough).all()


@pytest.mark.parametrize("experiment", [DECODERS, REACH])
def test_the_other_two_run(experiment):
    small = replace(experiment.quick, trials=2)
    found = run(experiment, small)
    assert np.isfinite(found["negative_share"]).all()


def test_the_stored_trials_are_those_of_the_starts():
    """The sweep's usual decoder and the other three share data and units, trial by trial."""
    sweep, other = load_result("gates"), load_result("gates-decoder")
    i = sweep.index(factor=1.0, bias=True, optimizer="gd", rate=0.1)
    for j, setting in enumerate(other.settings):
        if setting["factor"] == 1.0:
            first = other["negative_share"][j, 0], sweep["negative_share"][i, 0, :10]
            np.testing.assert_allclose(*first, atol=1e-6)

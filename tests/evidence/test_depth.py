"""Depth: the experiment measures what it says, and its claims are judged fairly."""

from dataclasses import replace

import numpy as np
import pytest

import evidence
import subspace_lib as sl
from evidence.depth import claims as judges
from evidence.depth import experiment as depth
from evidence.depth.random_layers import DeepConfig
from evidence.experiment import find, run
from evidence.readings import NORM_NAMES
from evidence.results import save
from evidence.setting import paper_data
from subspace_lib.diagnostics import NORMS

EXPERIMENT = find("depth")
TINY = replace(EXPERIMENT.quick, trials=2)


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


def test_every_layer_of_every_point(tiny):
    for name in depth.FOLLOWED:
        assert tiny[name].shape == (9, 3, 5, 2), name
    always = set(depth.FOLLOWED) - {
        "spectral_acc",
        "spectral_acc_r1",
        "certified_share",
        "certified_share_affine",
    }
    for name in always - {"two_links_bound", "reference_bound", "reference_bound_affine"}:
        assert np.isfinite(tiny[name]).all(), name
    for name in ("spectral_acc", "certified_share_affine"):  # at both ends only
        assert np.isfinite(tiny[name][:, [0, -1]]).all(), name
        assert np.isnan(tiny[name][:, 1]).all(), name
    assert not tiny["diverged"].any()
    assert np.isfinite(tiny["accuracy"][2:4]).all()
    assert np.isnan(tiny["accuracy"][:2]).all()


def test_the_answer_zero_has_loss_one(tiny):
    """Random weights at the usual scale answer nearly nothing."""
    assert (abs(tiny["loss"][:, 0] - 1) < 0.1).all()
    assert (tiny["loss"][:, -1] < tiny["loss"][:, 0]).mean() > 0.8


def test_both_objectives_start_from_the_same_layers(tiny):
    for name in ("clean_to_post_fro", "previous_to_pre_max", "share_r1", "dead_units"):
        np.testing.assert_array_equal(tiny[name][0, 0], tiny[name][2, 0], err_msg=name)


def test_the_numbers_are_the_library_s(tiny):
    data, point = paper_data(TINY, 0.1), tiny.settings[0]
    net = depth.network_for(TINY, point)
    start = net.init("usual", trials=2, seed=TINY.seed + 2)
    layers = net.layers({k: p.double() for k, p in start.items()}, data.X)
    previous, r = data.X, data.rank
    for i, layer in enumerate(layers):
        for norm in NORMS:
            for pair, A, B in (
                ("previous_to_pre", previous, layer.pre),
                ("previous_to_post", previous, layer.post),
                ("clean_to_post", data.clean, layer.post),
            ):
                slow = sl.projection_distance(A, B, r, norm)
                np.testing.assert_allclose(tiny[f"{pair}_{norm}"][0, 0, i], slow, rtol=1e-3)
        V = sl.row_basis(layer.post, r + 1) @ sl.row_basis(data.clean, r).mT
        share = V.square().sum((-2, -1)) / r
        np.testing.assert_allclose(tiny["share_r1"][0, 0, i], share, rtol=1e-3)
        previous = layer.post


def test_a_stored_trial_is_a_live_one(tiny):
    for point in (tiny.settings[0], tiny.settings[3], tiny.settings[6]):
        alone = EXPERIMENT.compute(replace(TINY, trials=1), point, "cpu")
        for name in ("loss", "share_r1", "previous_to_post_fro"):
            stored = tiny.at(**point)[name][..., :1]
            np.testing.assert_allclose(alone[name], stored, rtol=5e-3, atol=5e-3, err_msg=name)


def test_what_is_stored_is_rounded_a_little():
    values = np.array([np.pi, -1e-20, 0.0, np.inf, np.nan, 1.0, 65536.5])
    short = depth._short(values)
    np.testing.assert_allclose(short, values, rtol=2.0**-depth.BITS)
    assert short[5] == 1
    rows = short[:2].view(np.int32)
    assert (rows & (2 ** (23 - depth.BITS) - 1) == 0).all()


def test_stacks_of_several_depths_share_an_array():
    experiment = find("depth-trained")
    found = run(experiment)
    shallow, deep = (p["layers"] for p in found.settings)
    assert shallow < deep
    for name in depth.STACKED:
        values = found[name]
        assert values.shape == (2, 2, deep, 2), name
        assert np.isnan(values[0, :, shallow:]).all(), name
        assert not np.isnan(values[1]).any(), name
        assert not np.isnan(values[0, :, :shallow]).any(), name
    assert (found["loss"][:, 1] < found["loss"][:, 0]).all()


# --- the judges -----------------------------------------------------------------------------------


def with_arrays(result, folder, **arrays):
    save(replace(result, arrays=result.arrays | arrays), folder)


@pytest.mark.parametrize(
    ("factor", "points", "verdict"),
    [
        (0.5, 9, "holds"),
        (0.5, 1, "holds under conditions"),
        (0.95, 9, "fails"),
    ],
)
def test_a_distance_falls_in_every_layer(tmp_path, tiny, factor, points, verdict):
    arrays = {}
    for pair in judges.PAIRS:
        for norm in NORM_NAMES:
            values = np.ones_like(tiny[f"{pair}_{norm}"])
            values[:points, -1] = factor
            arrays[f"{pair}_{norm}"] = values
    with_arrays(tiny, tmp_path, **arrays)
    assert evidence.judge("depth-layerwise", tmp_path).verdict == verdict


def test_a_distance_that_comes_back_falls_by_its_ends_only(tmp_path, tiny):
    """Least at the second checkpoint, half of that lost again: not along the path."""
    arrays = {}
    for pair in judges.PAIRS:
        for norm in NORM_NAMES:
            values = np.ones_like(tiny[f"{pair}_{norm}"])
            values[:, 1:-1], values[:, -1] = 0.4, 0.7
            arrays[f"{pair}_{norm}"] = values
    with_arrays(tiny, tmp_path, **arrays)
    found = evidence.judge("depth-layerwise", tmp_path)
    assert found.verdict == "holds under conditions"
    assert "end against start" in found.condition


def test_four_layers_are_not_every_layer(tmp_path, tiny):
    arrays = {}
    for pair in judges.PAIRS:
        for norm in NORM_NAMES:
            values = np.ones_like(tiny[f"{pair}_{norm}"])
            values[:, -1, :4] = 0.5
            arrays[f"{pair}_{norm}"] = values
    with_arrays(tiny, tmp_path, **arrays)
    found = evidence.judge("depth-layerwise", tmp_path)
    assert found.verdict == "fails"
    assert "36 of 45 layers" in found.measured


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0.5, 0.8, "holds"),
        (1.0, 1.0, "holds"),  # nothing to gain
        (0.5, 0.5, "fails"),
        (1.0, 0.9, "fails"),
    ],
)
def test_accuracy_rises_or_is_perfect(tmp_path, tiny, before, after, verdict):
    values = np.full_like(tiny["spectral_acc"], np.nan)
    values[:, 0], values[:, -1] = before, after
    with_arrays(tiny, tmp_path, spectral_acc=values, spectral_acc_r1=0 * values)
    assert evidence.judge("depth-layer-accuracy", tmp_path).verdict == verdict
    values[0, -1, 4] = 0.1  # one layer of one network
    with_arrays(tiny, tmp_path, spectral_acc=values, spectral_acc_r1=0 * values)
    expected = "holds under conditions" if verdict == "holds" else "fails"
    assert evidence.judge("depth-layer-accuracy", tmp_path).verdict == expected


def test_the_chain_adds_up_over_layers(tmp_path, tiny):
    margin = tiny["connectivity_margin"]
    fifth = np.broadcast_to(margin / 11, margin.shape).copy()
    with_arrays(tiny, tmp_path, two_links_bound=fifth)
    assert evidence.judge("depth-chain-trained", tmp_path).verdict == "holds"
    with_arrays(tiny, tmp_path, two_links_bound=1.2 * fifth)  # 6/11 of the margin at layer five
    found = evidence.judge("depth-chain-trained", tmp_path)
    assert found.verdict == "holds under conditions"
    assert "36 of 45 trained layers" in found.measured
    with_arrays(tiny, tmp_path, two_links_bound=np.full_like(fifth, np.inf))
    assert evidence.judge("depth-chain-trained", tmp_path).verdict == "vacuous"


def test_stored_bounds_are_not_contradicted():
    stored = evidence.load_result("depth")
    assert stored.settings == EXPERIMENT.settings(EXPERIMENT.full)
    bound, truth = (stored[k] for k in ("reference_bound_affine", "affine_to_post_spectral"))
    assert (truth <= bound * (1 + 2.0 ** (1 - depth.BITS)) + 1e-6).all()
    assert stored["share_r"].shape == (9, 7, 5, stored.config["trials"])


RANDOM = DeepConfig(
    trials=3,
    absolute=(),
    relative=(-20, -2),
    m=20,
    n_subspaces=2,
    subspace_dim=2,
    points_per_subspace=10,
    width=12,
    depth=2,
)


def test_a_trial_of_random_layers_alone_is_the_trial_of_a_longer_run():
    experiment = find("theorem-depth")
    point = experiment.settings(RANDOM)[-1]
    long = experiment.compute(RANDOM, point, "cpu")
    short = experiment.compute(replace(RANDOM, trials=1), point, "cpu")
    for key, values in short.items():
        np.testing.assert_array_equal(values, long[key][:1])


def test_the_experiment_on_random_layers_is_the_library():
    arrays = find("theorem-depth").compute(
        RANDOM, {"activation": "identity", "log10_variance": -20}, "cpu"
    )
    assert arrays["gaps"].shape == arrays["errors"].shape == (3, 4)
    assert arrays["distances"].shape == (3, 2, 2)
    bound = (arrays["errors"] / arrays["gaps"]).sum(1)
    assert (arrays["distances"][:, -1, 1] <= bound).all()
    assert arrays["recovered"].all()

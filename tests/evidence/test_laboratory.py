"""The laboratory: every setting measured as it says, the stored grid is what training gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence import laboratory as lab
from evidence.experiment import find
from evidence.results import load_result
from evidence.setting import paper_data

SMALL = lab.Config()
SHORT = replace(SMALL, trials=3, marks=(0, 3, 30), steps=30, checkpoints=3)
# stored medians against live ones: both in single precision, summed in another order elsewhere
TOLERANCE = {"share_r1": 0.02, "loss": 0.02, "negative_share": 0.05}


@pytest.fixture(scope="module")
def stored():
    return load_result("laboratory")


@pytest.fixture(scope="module")
def paper():
    return load_result("laboratory-paper")


@pytest.mark.parametrize(
    "controls",
    [
        {"noise": 0.1},
        {"noise": 0.1, "depth": 2, "bias": False},
        {"noise": 0.5, "activation": "gelu", "optimizer": "gd", "init": "nonnegative-first"},
    ],
)
def test_the_last_layer_is_measured_as_the_slow_way_does(controls):
    found = lab.train_setting(SHORT, **controls)
    point = {k: v[0] for k, v in lab.grid(SHORT).items()} | controls
    data, network = paper_data(SHORT, point["noise"]), lab.network_for(SHORT, point)
    run = sl.train(
        network,
        data,
        steps=30,
        checkpoints=SHORT.marks,
        init=point["init"],
        seed=2,
        optimizer=point["optimizer"],
        lr=SHORT.rate(point["optimizer"], point["bias"]),
        normalize="data",
        progress=False,
        measure=sl.diagnostics.Diagnostics(data),
    )
    names = {
        "share_r": "share_r",
        "share_r1": "share_r1",
        "distance": "clean_to_post_spectral",
        "negative_share": "negative_share",
    }
    for mine, theirs in names.items():
        np.testing.assert_allclose(found[mine], run[theirs][:, -1], atol=2e-3, err_msg=mine)
    np.testing.assert_allclose(found["loss"], run.loss, rtol=1e-3)
    ends = {
        "certified": "certified_share",
        "certified_affine": "certified_share_affine",
        "accuracy": "spectral_acc_r1",
    }
    for mine, theirs in ends.items():
        value = found[mine] if found[mine].ndim == 1 else found[mine][-1]
        np.testing.assert_allclose(value, run[theirs][-1, -1], atol=0.05, err_msg=mine)
    np.testing.assert_allclose(found["printed_ratio"], run["printed_ratio"][-1, 0], rtol=0.01)
    assert not found["diverged"].any()


def test_the_picture_is_the_projector_of_trial_0():
    Y = torch.randn(24, 90, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    P = sl.row_projector(Y, 6).abs()[::2, ::2].numpy()
    shown = lab.picture(Y, 6, 2) / 255 * lab.PICTURE_MAX
    assert shown.shape == (45, 45)
    np.testing.assert_allclose(shown, P.clip(max=lab.PICTURE_MAX), atol=lab.PICTURE_MAX / 500)


def test_a_diverged_setting_says_so_and_does_not_fail():
    wild = replace(SHORT, gd=1e6)
    found = lab.train_setting(wild, noise=0.1, bias=False, optimizer="gd")
    assert found["diverged"].all()
    assert np.isfinite(found["share_r1"][0]).all()
    assert np.isnan(found["share_r1"][-1]).all()
    assert np.isnan(found["certified"]).all()
    assert not found["picture"].any()
    assert lab.at_the_end(found) == 0


def test_a_control_of_another_name_is_refused():
    with pytest.raises(TypeError, match="controls are noise, init"):
        lab.train_setting(SHORT, nose=0.1)


def test_bands_leave_out_what_has_diverged():
    found = lab.band(np.array([[1.0, 2.0, 6.0], [np.nan, 1.0, 3.0], [np.nan] * 3]))
    np.testing.assert_allclose(found.T, [[1, 2, 6], [1, 2, 3], [np.nan] * 3])
    assert lab.band(np.zeros((2, 5, 4))).shape == (3, 2, 5)


def test_main_effects_split_the_variance():
    axes = {"a": [0, 1], "b": [0, 1, 2]}
    a, b = np.meshgrid([0.0, 2.0], [0.0, 1.0, 5.0], indexing="ij")
    means, shares = lab.main_effects((a + b).ravel(), axes)
    np.testing.assert_allclose(means["a"], [2, 4])
    np.testing.assert_allclose(means["b"], [1, 2, 6])
    assert sum(shares.values()) == pytest.approx(1)  # no interaction
    crossed = np.array([1.0, -1.0, -1.0, 1.0])
    assert lab.main_effects(crossed, {"a": [0, 1], "b": [0, 1]})[1] == {"a": 0, "b": 0}
    with pytest.raises(ValueError, match="one entry per setting"):
        lab.main_effects(crossed, axes)


def test_interactions_are_what_the_main_effects_leave():
    axes = {"a": [0, 1], "b": [0, 1, 2], "c": [0, 1]}
    a, b, c = np.meshgrid([-1.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 1.0], indexing="ij")
    crossed = lab.interactions((a * c + b).ravel(), axes)
    assert next(iter(crossed)) == ("a", "c")
    np.testing.assert_allclose(list(crossed.values()), [0.6, 0, 0], atol=1e-12)  # 1 of 1 + 2/3
    rng = np.random.default_rng(0)
    values = rng.normal(size=6)
    two = {"a": [0, 1], "b": [0, 1, 2]}
    shares = [*lab.main_effects(values, two)[1].values(), *lab.interactions(values, two).values()]
    assert sum(shares) == pytest.approx(1)  # with two controls nothing else is left
    with pytest.raises(ValueError, match="one entry per setting"):
        lab.interactions(values, axes)


def test_the_grid_is_complete_and_every_setting_is_one_of_its_own(stored):
    assert stored.settings == lab.settings(lab.Config())
    assert stored.config == find("laboratory").full.__dict__ | {
        k: list(v) for k, v in find("laboratory").full.__dict__.items() if isinstance(v, tuple)
    }
    shown = [
        (p.tobytes(), s.tobytes(), n.tobytes())
        for p, s, n in zip(
            stored["picture"], stored["share_r1"], stored["negative_share"], strict=True
        )
    ]
    assert len(set(shown)) == len(stored.settings)


@pytest.mark.parametrize(
    "controls",
    [
        {"noise": 0.1},
        {"noise": 0.5, "bias": False, "activation": "identity"},
        {"noise": 0.01, "depth": 5, "activation": "gelu"},
        {"noise": 0.1, "optimizer": "gd", "bias": False, "depth": 2},
    ],
)
def test_a_stored_setting_is_a_live_one(stored, controls):
    first = {name: values[0] for name, values in lab.grid(SMALL).items()}
    before, now = stored.at(**first | controls), lab.train_setting(SMALL, **controls)
    for name, tolerance in TOLERANCE.items():
        off = np.median(now[name], 1) - np.median(before[name], 1)
        assert np.abs(off).max() <= tolerance, name


@pytest.mark.slow
@pytest.mark.parametrize("bias", [True, False])
def test_the_rate_is_the_best_of_its_neighbours(bias):
    """The rule of the docstring: the smallest loss in the end, summed over the depths."""
    data = paper_data(SMALL, 0.1)

    def loss(lr):
        total = 0.0
        for depth in SMALL.depth:
            network = lab.network_for(SMALL, {"depth": depth, "activation": "relu", "bias": bias})
            run = sl.train(
                network,
                data,
                steps=SMALL.steps,
                lr=lr,
                normalize="data",
                seed=2,
                progress=False,
                checkpoints=2,
            )
            total += float(np.median(np.nan_to_num(run.loss[-1], nan=np.inf)))
        return total

    lower, chosen, higher = {1.0: (0.3, 1.0, 3.0), 0.01: (0.003, 0.01, 0.03)}[
        SMALL.rate("gd", bias)
    ]
    best = loss(chosen)
    assert best < loss(lower)
    assert best < loss(higher)


def test_paper_size_settings_are_settings_of_the_grid(stored, paper):
    assert paper.settings == lab.settings(lab.PAPER)
    assert all(p in stored.settings for p in paper.settings)
    assert (np.isfinite(paper["share_r1"][:, 0])).all()

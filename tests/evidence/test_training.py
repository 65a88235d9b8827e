"""Training's experiments: they run, resume, compute what they say, and are judged fairly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.results import load_result, save
from evidence.setting import paper_data
from evidence.training import claims as judges
from evidence.training import experiment as module
from evidence.training import lifted, other_readings

EXPERIMENT, CERTIFICATES = find("autoencoder"), find("trained-certificates")
TINY = replace(
    EXPERIMENT.quick,
    trials=2,
    ambient_dim=20,
    points_per_subspace=10,
    hidden=8,
    gd=(0, 2, 5),
    adam=(0, 2, 5),
    short=(0, 1, 30),
    certify=(0, 2),
)
IDS = (
    "training-distance-falls",
    "training-condition-rises",
    "training-nonnegative-preactivations",
    "training-no-regulariser",
    "closed-form-clustering",
)


@pytest.fixture(scope="module")
def tiny():
    with np.errstate(all="ignore"):
        return run(EXPERIMENT, TINY)


def test_every_point_has_the_same_arrays(tiny):
    assert len(tiny.settings) == len(EXPERIMENT.settings(EXPERIMENT.full)) == 14
    assert len({str(p) for p in tiny.settings}) == 14
    for name in module.FOLLOWED:
        assert tiny[name].shape == (14, 3, 2), name
        assert tiny[name].dtype == np.float32
    full = EXPERIMENT.full
    assert len(full.gd) == len(full.adam) == len(full.short) == full.checkpoints
    assert max(full.gd + full.adam) == full.steps


def test_the_printed_setting_diverges_and_the_others_do_not(tiny):
    gone = [p for i, p in enumerate(tiny.settings) if tiny["diverged"][i].all()]
    printed = [p for p in tiny.settings if p["init"] == "printed"]
    assert printed
    assert all(p in gone for p in printed)
    calm = tiny.index(optimizer="adam", lr=0.001)
    assert not tiny["diverged"][calm].any()
    assert np.isfinite(tiny["clean_to_post_spectral"][calm]).all()


def test_expensive_diagnostics_only_where_they_were_asked_for(tiny):
    calm = tiny.index(optimizer="adam", lr=0.001)
    for name in ("spectral_acc", "certified_share_affine", "reference_bound_profile"):
        assert np.isnan(tiny[name][calm, 1]).all()
        assert not np.isnan(tiny[name][calm, [0, 2]]).any()


def test_it_resumes(tmp_path, monkeypatch, tiny):
    calls = []

    def interrupted(config, point, device):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(point)
        return module.compute(config, point, device)

    broken = replace(EXPERIMENT, compute=interrupted)
    monkeypatch.setattr("evidence.experiment._source", lambda compute: "one source")
    with pytest.raises(KeyboardInterrupt):
        run(broken, TINY, parts=tmp_path)
    done = list(calls)
    with np.errstate(all="ignore"):
        resumed = run(EXPERIMENT, TINY, parts=tmp_path)
    assert len(done) == 3
    for name in tiny.arrays.keys() - {"seconds", "cpu_seconds"}:
        np.testing.assert_array_equal(resumed[name], tiny[name], err_msg=name)
    again = []
    counting = replace(EXPERIMENT, compute=lambda *a: again.append(a) or module.compute(*a))
    run(counting, TINY, parts=tmp_path)
    assert again == []


def test_a_stored_trial_is_a_live_one(tmp_path, tiny):
    """Saved, loaded, and computed again alone: the first trial of every point that is stable."""
    save(tiny, tmp_path)
    stored, alone = load_result("autoencoder", tmp_path), replace(TINY, trials=1)
    for i, point in enumerate(stored.settings):
        if stored["diverged"][i].any():
            continue
        live = EXPERIMENT.compute(alone, point, "cpu")
        for name in ("loss", "share_r1", "negative_share", "clean_to_post_fro", "delta_3"):
            off = np.abs(live[name][:, 0] - stored[name][i, :, 0])
            assert (off <= 1e-3 * (1 + np.abs(live[name][:, 0]))).all(), (point, name)


def test_the_numbers_are_the_library_s(tiny):
    """Against the plain functions, on the network trained by hand."""
    point = tiny.settings[tiny.index(optimizer="adam", lr=0.003, bias=True, variance=0.1)]
    data = paper_data(TINY, 0.1)
    net = sl.FeedForward((20, 8, 20), bias=True)
    trained = sl.train(
        net,
        data,
        optimizer="adam",
        lr=0.003,
        normalize="data",
        steps=5,
        seed=TINY.seed + 2,
    )
    layer = net.layers({k: p.double() for k, p in trained.params.items()}, data.X)[0]
    found = tiny.at(**point)
    Y, r = layer.post, data.rank
    expected = {
        "loss": trained.loss[-1],
        "clean_to_post_max": sl.projection_distance(data.clean, Y, r),
        "clean_to_pre_spectral": sl.projection_distance(data.clean, layer.pre, r, "spectral"),
        "negative_share": (layer.pre < 0).double().mean((1, 2)),
        "activation_error": np.linalg.norm(Y - layer.weight @ data.X, 2, axis=(1, 2)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][-1], values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_certificates_hold_before_and_after():
    config = replace(CERTIFICATES.quick, trials=2, steps=20)
    found = run(CERTIFICATES, config)
    assert found["certified_share_affine"].shape == (len(found.settings), 2, 2)
    truth, bound = found["affine_to_post_spectral"], found["reference_bound_affine"]
    assert (truth <= bound + 1e-6).all()
    assert (found["loss"][:, 1] < found["loss"][:, 0]).all()


# --- the judges ---------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, tiny):
    save(tiny, tmp_path)
    save(run(CERTIFICATES, replace(CERTIFICATES.quick, trials=2, steps=5)), tmp_path)
    save(run(find("data-clusters")), tmp_path)
    return tmp_path


def changed(folder, **arrays):
    """The stored run with other arrays."""
    before = load_result("autoencoder", folder)
    save(replace(before, arrays=before.arrays | arrays), folder)


def curve(result, first, last):
    """Values that go from first to last, for all points and trials."""
    points, steps, trials = result["loss"].shape
    return np.broadcast_to(np.linspace(first, last, steps)[None, :, None], (points, steps, trials))


@pytest.mark.parametrize("name", IDS)
def test_every_claim_is_judged(stored, name):
    found = evidence.judge(name, stored)
    assert found.verdict != "not tested yet"
    assert len(found.measured) > 40


@pytest.mark.parametrize(("last", "verdict"), [(0.5, "holds"), (0.95, "fails"), (2.0, "fails")])
def test_the_distance_must_fall_by_a_tenth(stored, tiny, last, verdict):
    names = [f"clean_to_{at}_{norm}" for at in ("post", "pre") for norm in judges.NORM_NAMES]
    changed(stored, **{name: curve(tiny, 1, last) for name in names})
    assert evidence.judge("training-distance-falls", stored).verdict == verdict


def test_one_norm_of_three_is_a_condition(stored, tiny):
    others = {f"clean_to_post_{n}": curve(tiny, 1, 1) for n in ("max", "spectral")}
    changed(stored, clean_to_post_fro=curve(tiny, 1, 0.5), **others)
    found = evidence.judge("training-distance-falls", stored)
    assert found.verdict == "holds under conditions"
    assert found.condition.startswith("to P(Y), along the path, Frobenius norm")


def test_what_comes_back_has_not_fallen_along_the_path(stored, tiny):
    """Down to a half and up to three quarters: lower at the end, and not along the path."""
    path = np.array(curve(tiny, 1, 0.75))
    path[:, 1] = 0.5
    names = [f"clean_to_{at}_{norm}" for at in ("post", "pre") for norm in judges.NORM_NAMES]
    changed(stored, **dict.fromkeys(names, path))
    found = evidence.judge("training-distance-falls", stored)
    assert found.verdict == "holds under conditions"
    assert found.condition.startswith("to P(Y), end against start, largest entry")


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [(0, 0, "vacuous"), (0, 1, "holds under conditions"), (1, 0, "fails"), (1, 1, "fails")],
)
def test_a_condition_that_never_holds_is_vacuous(stored, tiny, first, last, verdict):
    """It is changed in one of the two results, whose settings are then the condition."""
    changed(stored, printed_holds=curve(tiny, first, last))
    assert evidence.judge("training-condition-rises", stored).verdict == verdict


def test_both_halves_of_non_negativity(stored, tiny):
    falls, stays = curve(tiny, 0.5, 0.1), curve(tiny, 0.5, 0.5)
    for error, energy, verdict in (
        (falls, falls, "holds"),
        (stays, falls, "holds under conditions"),  # Y nears WX + b1ᵀ and not WX
        (stays, stays, "fails"),
    ):
        more = {"activation_error": error, "image_norm": curve(tiny, 1, 1)}
        changed(stored, negative_share=falls, energy_removed=energy, **more)
        assert evidence.judge("training-nonnegative-preactivations", stored).verdict == verdict


@pytest.mark.parametrize(
    ("distance", "share", "verdict"),
    [(0, 0, "holds"), (1, 1, "holds under conditions"), (1, 0.5, "fails")],
)
def test_preservation_in_two_senses(stored, tiny, distance, share, verdict):
    changed(
        stored,
        clean_to_post_max=curve(tiny, 1, distance),
        share_r1=curve(tiny, 0.5, share),
        connectivity_margin=curve(tiny, 0.1, 0.1),
    )
    assert evidence.judge("training-no-regulariser", stored).verdict == verdict


@pytest.mark.parametrize(("accuracy", "verdict"), [(1.0, "holds"), (0.1, "fails")])
def test_clustering_is_compared_with_the_data(stored, tiny, accuracy, verdict):
    values = curve(tiny, accuracy, accuracy)
    changed(stored, spectral_acc=values, spectral_acc_r1=values)
    # the data of this size have accuracies of their own: set them to 0.9
    data = load_result("data-clusters", stored)
    save(replace(data, arrays=data.arrays | {"spectral_acc": 0 * data["acc"] + 0.9}), stored)
    assert evidence.judge("closed-form-clustering", stored).verdict == verdict


# --- other readings of the set-up, and the lifted condition -------------------------------------


def test_mini_batches_in_one_batch_are_plain_descent():
    """One batch to a pass is full-batch descent, up to the order in which points are summed."""
    data = paper_data(TINY, 0.1)
    net = sl.FeedForward((20, 8, 20), bias=True)
    start = net.init(trials=data.trials, seed=0)
    for optimizer, kind in (("gd", "sum"), ("adam", "data")):
        how = {"optimizer": optimizer, "lr": 0.01, "seed": 0}
        end = other_readings.in_batches(net, data, start, 5, 1, **how)
        same = sl.train(net, data, init=start, steps=5, normalize=kind, **how).params
        for name, p in same.items():
            torch.testing.assert_close(end[name], p, rtol=1e-3, atol=1e-5)


def test_prepared_data_are_what_their_names_say():
    config = find("training-readings").quick
    get = {r: other_readings.data_for(config, r, "cpu") for r in other_readings.READINGS}
    plain = get["as in the chapter"]
    assert get["cloud centred"].X.mean(-1).abs().max() < 1e-12
    assert get["columns centred"].X.mean(-2).abs().max() < 1e-12
    lengths = torch.linalg.vector_norm(get["columns normalised"].X, dim=-2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    long = get["long bases"]
    torch.testing.assert_close(long.clean, plain.clean * config.ambient_dim**0.5)
    assert abs(float(long.noise.var()) - config.variance) < 0.1 * config.variance


def test_the_lifted_condition_is_the_theorem_s_on_one_row_more():
    config = find("lifted-condition").quick
    data = paper_data(config, 1e-12)
    net = sl.FeedForward((config.ambient_dim, config.hidden, config.ambient_dim), bias=True)
    params = net.init(trials=data.trials, seed=3)
    params["b1"] += 10.0  # every gate is open: the layer is linear on the lifted data
    found = lifted.verdicts(net, params, data)
    margin = found["margin"] > 0
    assert margin.any()
    assert (found["negative_share"] == 0).all()
    assert (found["two_links_holds"][margin] == 1).all()
    params["b1"] -= 20.0  # and now none
    assert (lifted.verdicts(net, params, data)["two_links_holds"] == 0).all()

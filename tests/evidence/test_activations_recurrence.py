"""GELU, SiLU and recurrence: what is computed, the scale of the data, and the judges."""

from dataclasses import replace

import numpy as np
import pytest

import evidence
import subspace_lib as sl
from evidence.activations_recurrence import experiment as module
from evidence.experiment import find, run
from evidence.results import load_result, save
from evidence.verdict import CONDITIONAL, FAILS, HOLDS

EXPERIMENT, RECURRENT = find("activations"), find("recurrent")
TINY = replace(EXPERIMENT.quick, trials=2, steps=4, marks=(0, 2, 4))
TINY_RECURRENT = replace(RECURRENT.quick, trials=2, steps=4, marks=(0, 2, 4))


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


@pytest.fixture(scope="module")
def recurrent():
    return run(RECURRENT, TINY_RECURRENT)


@pytest.fixture
def stored(tmp_path, tiny, recurrent):
    save(tiny, tmp_path)
    save(recurrent, tmp_path)
    return tmp_path


def changed(folder, name, **arrays):
    before = load_result(name, folder)
    new = {k: np.broadcast_to(v, before[k].shape).copy() for k, v in arrays.items()}
    save(replace(before, arrays=before.arrays | new), folder)


def test_shapes(tiny):
    assert tiny["clean_to_post_fro"].shape == (10, 3, 5, 2)
    assert tiny["nonlinearity"].shape == (10, 2, 5, 2)
    assert EXPERIMENT.full.marks[-1] == EXPERIMENT.full.steps
    assert RECURRENT.full.marks[-1] == RECURRENT.full.steps


def test_the_scale_multiplies_signal_and_noise():
    one, many = (module.scaled_data(TINY, s) for s in (1.0, 20.0))
    np.testing.assert_allclose(many.X, 20 * one.X)
    np.testing.assert_allclose(many.clean, 20 * one.clean)


def test_relu_does_not_see_the_scale_and_gelu_does(tiny):
    at = {p["activation"]: [] for p in tiny.settings}
    for i, p in enumerate(tiny.settings):
        at[p["activation"]].append(tiny["nonlinearity"][i, 0])
    np.testing.assert_allclose(at["relu"][0], at["relu"][-1], rtol=1e-4)
    assert (at["gelu"][0] < 0.1 * at["gelu"][-1]).all()


def test_the_nonlinearity_is_the_best_fit():
    net = sl.FeedForward((6, 5, 6))
    params = net.init(trials=2, seed=0)
    layer = net.layers(
        params,
        sl.sample_union(
            ambient_dim=6,
            n_subspaces=2,
            subspace_dim=2,
            points_per_subspace=9,
            trials=2,
            seed=0,
        ).X.float(),
    )[0]
    A, Y = layer.pre.double(), layer.post.double()
    for t in range(2):
        c = np.linspace(-1, 2, 3001)
        fits = [float((Y[t] - k * A[t]).norm() / Y[t].norm()) for k in c]
        assert module.nonlinearity(layer)[t] == pytest.approx(min(fits), abs=1e-4)


def test_the_random_layers_have_as_many_rows(tiny):
    point = RECURRENT.settings(TINY_RECURRENT)[0]
    found = module.recurrent(TINY_RECURRENT, point, "cpu")
    assert found["random_share_r"].shape == (2, 2)
    assert found["share_r"].shape == (3, 6, 2)
    # the taller layer keeps more
    assert (found["random_share_2r"][1] >= found["random_share_2r"][0]).all()


@pytest.mark.parametrize("name", ["gelu-silu-preserve", "pointwise-class", "lstm-preserves"])
def test_every_claim_is_judged(stored, name):
    found = evidence.judge(name, stored)
    assert found.verdict != "not tested yet"
    assert len(found.measured) > 40


@pytest.mark.parametrize(
    ("share", "distance", "verdict"),
    [(1.0, 1.0, HOLDS), (0.5, 0.3, CONDITIONAL), (0.5, 0.8, FAILS)],
)
def test_preserving_is_a_share_and_a_sine_at_equal_ranks_a_condition(
    stored, share, distance, verdict
):
    changed(stored, "activations", share_r1=share, clean_to_post_spectral=distance)
    for name in ("gelu-silu-preserve", "pointwise-class"):
        assert evidence.judge(name, stored).verdict == verdict


def test_one_scale_is_a_condition(stored, tiny):
    near = np.array([1.0 if p["scale"] == 1 else 0.5 for p in tiny.settings])
    changed(stored, "activations", share_r1=near[:, None, None, None], clean_to_post_spectral=1.0)
    for name in ("gelu-silu-preserve", "pointwise-class"):
        found = evidence.judge(name, stored)
        assert found.verdict == CONDITIONAL
        assert "scale 1" in found.condition


def test_networks_that_classify_are_a_condition_too(stored):
    """All that reconstruct preserve; those that are told the clusters do not."""
    told = run(find("activations-classify"), replace(find("activations-classify").quick, trials=2))
    save(told, stored)
    changed(stored, "activations", share_r1=1.0)
    changed(stored, "activations-classify", share_r1=0.5, clean_to_post_spectral=1.0)
    found = evidence.judge("gelu-silu-preserve", stored)
    assert found.verdict == CONDITIONAL
    assert "objective reconstruct" in found.condition
    assert any("k-means" in reading.unit for reading in found.readings)
    assert told["held_out"].shape == (len(told.settings), 2)
    assert told["kmeans"].shape == (len(told.settings), 5, 2)


@pytest.mark.parametrize(
    ("last", "rank", "verdict"), [(0.5, 9, "holds"), (1.0, 9, "fails"), (0.5, 0, "fails")]
)
def test_dead_states_do_not_count_as_a_fall(stored, last, rank, verdict):
    curve = np.linspace(1, last, 3)[None, :, None, None]
    norms = {f"clean_to_post_{n}": curve for n in ("max", "spectral", "fro")}
    changed(stored, "recurrent", rank=rank, **norms)
    assert evidence.judge("lstm-preserves", stored).verdict == verdict

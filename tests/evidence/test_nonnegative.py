"""Non-negative starts: data, starts, steps to a loss, exact Hessians, fair judges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.nonnegative import claims as judges
from evidence.nonnegative import experiment as module
from evidence.nonnegative import hessian as second
from evidence.results import load_result, save
from evidence.verdict import CONDITIONAL, FAILS, HOLDS

EXPERIMENT, HESSIAN = find("nonnegative"), find("nonnegative-hessian")
SIZES = {"ambient_dim": 40, "n_subspaces": 3, "subspace_dim": 2, "points_per_subspace": 20}
TINY = replace(EXPERIMENT.quick, trials=2, marks=(0, 3, 6))
SMALL = replace(HESSIAN.quick, trials=1, ambient_dim=6, hidden=3, steps=20, polish=300)
IDS = ("nonnegative-free", "nonnegative-optimum", "nonnegative-faster")


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


@pytest.fixture(scope="module")
def small():
    return run(HESSIAN, SMALL)


# --- data and starts ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", module.KINDS[1:])
def test_nonnegative_data_lie_in_nonnegative_subspaces(kind):
    data = module.nonnegative_union(kind, seed=0, trials=2, variance=0.5, **SIZES)
    assert (data.clean >= 0).all()
    assert (data.bases >= 0).all()
    assert int(sl.projectors.numerical_rank(data.clean[0])) == data.rank
    torch.testing.assert_close(data.bases @ data.coefficients, data.clean)
    assert (data.X < 0).any()  # Gaussian noise breaks X ≥ 0 …
    clipped = module.nonnegative_union(kind, seed=0, trials=2, variance=0.5, clip=True, **SIZES)
    assert (clipped.X >= 0).all()  # … unless it is clipped
    alone = module.nonnegative_union(kind, seed=0, trials=[1], variance=0.5, **SIZES)
    torch.testing.assert_close(alone.X[0], data.X[1])


def test_overlapping_means_large_cosines():
    cosines = []
    for kind in module.KINDS[1:]:
        U = module.nonnegative_union(kind, seed=0, **SIZES).bases
        cosines.append(float((U.mT @ U)[:2, 2:].mean()))
    assert cosines[0] < 0.3 < 0.7 < cosines[1]


def test_signed_data_are_the_paper_s_and_cannot_be_clipped():
    data = module.nonnegative_union("signed", seed=3, trials=2, variance=0.5, **SIZES)
    plain = sl.add_noise(sl.sample_union(seed=3, trials=2, **SIZES), 0.5, seed=4)
    torch.testing.assert_close(data.X, plain.X)
    with pytest.raises(ValueError, match="clip needs non-negative data"):
        module.nonnegative_union("signed", seed=3, clip=True, **SIZES)
    with pytest.raises(ValueError, match="kind"):
        module.nonnegative_union("positive", seed=3, **SIZES)


def test_nonnegative_starts_share_their_rows():
    net = sl.FeedForward((12, 5, 12))
    found = {s: module.start(net, s, trials=2, seed=1) for s in module.STARTS}
    W = found["nonnegative"]["W1"]
    assert (W >= 0).all()
    for scheme in module.STARTS[2:]:
        other = found[scheme]["W1"]
        ratio = other[0, 0, 0] / W[0, 0, 0]
        torch.testing.assert_close(other, ratio * W)
    torch.testing.assert_close(found["nonnegative-hidden"]["W2"], found["usual"]["W2"])


def test_steps_to_a_loss():
    history = np.array([[3.0, 1.0], [0.5, 2.0], [0.7, np.nan]])
    np.testing.assert_array_equal(module.steps_to(history, 0.6), [1, np.nan])
    np.testing.assert_array_equal(module.steps_to(history, 1.0), [1, 0])


# --- the runs -----------------------------------------------------------------------------------


def test_every_point_has_the_same_arrays(tiny):
    points = EXPERIMENT.settings(EXPERIMENT.full)
    assert len(tiny.settings) == len(points) == len({str(p) for p in points})
    for name in (*module.FOLLOWED, "loss"):
        assert tiny[name].shape == (len(points), 3, 2), name
    assert tiny["reached"].shape == (len(points), len(module.TARGETS), 2)
    assert EXPERIMENT.full.marks[-1] == EXPERIMENT.full.steps
    assert len(EXPERIMENT.full.marks) == EXPERIMENT.full.checkpoints


def test_relu_is_idle_on_clipped_data_only(tiny):
    clipped = tiny.at(clip=True, init="nonnegative-hidden")
    assert (clipped["negative_share"][0] == 0).all()
    signed = tiny.at(data="signed", init="nonnegative", optimizer="adam")
    assert (signed["negative_share"][0] > 0.1).all()


def test_stored_results_have_full_size():
    for experiment in (EXPERIMENT, HESSIAN):
        stored = load_result(experiment.name)
        assert stored.settings == experiment.settings(experiment.full)
        assert stored.config["trials"] == experiment.full.trials


# --- the Hessian --------------------------------------------------------------------------------


def test_hessian_against_differences():
    generator = torch.Generator().manual_seed(0)
    W, D, X = (
        torch.randn(s, generator=generator, dtype=torch.float64) for s in ((2, 4), (4, 2), (4, 7))
    )
    g, H = second.hessian(W, D, X)
    theta, step = torch.cat([W.flatten(), D.flatten()]), 1e-4

    def loss(t):
        return second.relative_loss(t[:8].view_as(W), t[8:].view_as(D), X)

    for i in (0, 5, 8, 15):
        e = torch.zeros(16, dtype=torch.float64)
        e[i] = step
        slope = (loss(theta + e) - loss(theta - e)) / (2 * step)
        bend = (loss(theta + e) - 2 * loss(theta) + loss(theta - e)) / step**2
        torch.testing.assert_close(slope, g[i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(bend, H[i, i], rtol=1e-4, atol=1e-5)


def test_facts_of_a_known_critical_point():
    """W = u ᵀ, D = u, X = u (1, 2): exact, one zero eigenvalue of the rescaling and no negative."""
    one = torch.ones(1, 1, dtype=torch.float64)
    found = second.facts(one, one, torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    assert found["loss"] == 0
    assert found["zeros"] == 1
    assert found["negatives"] == 0
    assert found["determinant"] == 0
    assert found["idle"] == 1
    assert found["curved"] == pytest.approx(found["highest"])
    # further on: (2·2 − 1) overshoots, so that the Hessian is indefinite
    beyond = second.facts(2 * one, 2 * one, one)
    assert beyond["negatives"] == 1
    assert beyond["determinant"] == -1


def test_a_dead_network_is_stationary():
    W, D = -torch.ones(2, 3, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)
    g, H = second.hessian(W, D, torch.rand(3, 5, dtype=torch.float64) + 0.1)
    assert float(g.norm()) == float(H.norm()) == 0


def test_stages(small):
    assert small["gradient"].shape == (12, len(second.STAGES), 1)
    assert (small["readout_gradient"][:, 1] < 1e-6).all()
    assert (small["loss"][:, 3] <= small["loss"][:, 2]).all()
    assert (small["loss"][:, 1] <= small["loss"][:, 0] + 1e-12).all()


# --- the judges ---------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, tiny, small):
    save(tiny, tmp_path)
    save(small, tmp_path)
    return tmp_path


def changed(folder, name, **arrays):
    before = load_result(name, folder)
    save(replace(before, arrays=before.arrays | arrays), folder)


@pytest.mark.parametrize("name", IDS)
def test_every_claim_is_judged(stored, name):
    found = evidence.judge(name, stored)
    assert found.verdict != "not tested yet"
    assert len(found.measured) > 40


@pytest.mark.parametrize(
    ("distance", "error", "verdict"), [(0.0, 1, HOLDS), (0.2, 1, FAILS), (0.2, 0, CONDITIONAL)]
)
def test_near_zero_in_the_spectral_norm_is_enough(stored, tiny, distance, error, verdict):
    far = np.ones_like(tiny["loss"])
    norms = {"clean_to_post_max": far, "clean_to_post_spectral": distance * far}
    changed(stored, "nonnegative", **norms, activation_error=error * far, image_norm=far)
    assert evidence.judge("nonnegative-free", stored).verdict == verdict


def test_some_kinds_of_data_are_a_condition(stored, tiny):
    far = np.ones_like(tiny["loss"])
    far[[i for i, p in enumerate(tiny.settings) if p["data"] == "nonnegative"]] = 0
    changed(stored, "nonnegative", clean_to_post_max=0 * far + 1, clean_to_post_spectral=far)
    found = evidence.judge("nonnegative-free", stored)
    assert found.verdict == CONDITIONAL
    assert "data nonnegative" in found.condition


def test_the_link_and_no_noise_are_readings(stored):
    link = run(find("nonnegative-link"), replace(find("nonnegative-link").quick, trials=2))
    save(link, stored)
    idle = link.at(data="nonnegative", variance=0.5, clip=True, init="nonnegative")
    assert (idle["negative_share"] == 0).all()
    assert (idle["pre_to_post_spectral"] < 1e-6).all()  # ReLU is idle …
    assert (idle["clean_to_post_spectral"] > 0.1).all()  # … and P(WX) is not P(X*)
    readings = {r.name: r for r in evidence.judge("nonnegative-free", stored).readings}
    assert readings["X* to Y without noise"].true == 2
    assert readings["P(WX) to P(Y)"].of == sum(p["init"] != "usual" for p in link.settings)


@pytest.mark.parametrize(
    ("gradient", "negatives", "readout", "verdict"),
    [
        (0, 0, 0, HOLDS),
        (1, 0, 1, FAILS),
        (0, 2, 1, FAILS),
        (1, 2, 0, CONDITIONAL),
    ],
)
def test_an_optimum_is_flat_and_curved_upwards(
    stored, small, gradient, negatives, readout, verdict
):
    ones = np.ones_like(small["loss"])
    changed(
        stored,
        "nonnegative-hessian",
        gradient=gradient * ones,
        negatives=negatives * ones,
        zeros=0 * ones,
        determinant=0 * ones,
        encoder_gradient=ones,
        readout_gradient=readout * ones,
        readout_lowest=ones,
    )
    assert evidence.judge("nonnegative-optimum", stored).verdict == verdict


def test_the_hessian_by_w_alone_is_a_reading(stored, small):
    ones = np.ones_like(small["loss"])
    changed(stored, "nonnegative-hessian", encoder_gradient=0 * ones, encoder_lowest=ones)
    found = evidence.judge("nonnegative-optimum", stored)
    assert found.verdict == CONDITIONAL
    assert "in W alone" in found.condition


def test_the_blocks_of_the_hessian(small):
    i = small.index(data="nonnegative", clip=True, init="nonnegative")
    assert (small["encoder_lowest"][i, 0] > 0).all()  # every gate open, X of full rank
    assert (small["encoder_highest"] <= small["highest"] * (1 + 1e-9)).all()  # a principal block
    assert (small["encoder_gradient"] <= small["gradient"] * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("steps", "accuracy", "verdict"),
    [
        (10, 1.0, HOLDS),
        (19, 1.0, CONDITIONAL),  # not a tenth fewer, but more accurate
        (10, 0.5, CONDITIONAL),
        (30, 0.5, FAILS),
        (np.nan, 0.5, FAILS),
    ],
)
def test_faster_and_better(stored, tiny, steps, accuracy, verdict):
    reached, share = np.full_like(tiny["reached"], steps), np.full_like(tiny["loss"], accuracy)
    usual = [i for i, p in enumerate(tiny.settings) if p["init"] == "usual"]
    reached[usual], share[usual] = 20, 0.5
    changed(stored, "nonnegative", reached=reached, spectral_acc=share, spectral_acc_r1=share)
    assert evidence.judge("nonnegative-faster", stored).verdict == verdict


def test_the_gentlest_weights_race_too(stored):
    raced = run(find("nonnegative-race"), replace(find("nonnegative-race").quick, trials=2))
    reached, share = np.full_like(raced["reached"], 10), np.full_like(raced["loss"], 0.5)
    usual = [i for i, p in enumerate(raced.settings) if p["init"] == "usual"]
    reached[usual, 3] = 20  # of LEVELS: 0.6
    save(replace(raced, arrays=raced.arrays | {"reached": reached, "spectral_acc": share}), stored)
    readings = {r.name: r for r in evidence.judge("nonnegative-faster", stored).readings}
    assert readings["weights of mean 1/f, faster to 0.6‖X‖²"].true == 18
    assert readings["weights of mean 1/f, faster to 0.3‖X‖²"].true == 0


def test_weights_of_mean_one_over_the_fan_in():
    net = sl.FeedForward((12, 5, 12))
    both = {s: module.start(net, s, trials=3, seed=1) for s in ("usual", "mean", "mean-hidden")}
    for name, W in both["mean"].items():
        assert ((W >= 0) & (2 / W.shape[-1] >= W)).all(), name
    torch.testing.assert_close(both["mean-hidden"]["W1"], both["mean"]["W1"])
    torch.testing.assert_close(both["mean-hidden"]["W2"], both["usual"]["W2"])


def test_each_start_is_compared_with_the_usual_one_of_its_kind(tiny):
    pairs = judges.pairs(tiny)
    assert len(pairs) == sum(p["init"] != "usual" for p in tiny.settings)
    for a, b in pairs:
        assert tiny.settings[a]["init"] == "usual"
        for name in ("data", "optimizer", "variance", "clip"):
            assert tiny.settings[a][name] == tiny.settings[b][name]

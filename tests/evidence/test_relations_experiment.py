"""Relations: the experiment measures what it says, and theorems hold on trained networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence.experiment import find, run
from evidence.measures import indicators, share_inside
from evidence.relations import experiment as relations

EXPERIMENT = find("relations")
TINY = replace(EXPERIMENT.quick, trials=2, steps=20, marks=(0, 20))


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


def test_every_run_under_both_objectives(tiny):
    half = len(relations.RUNS)
    assert len(tiny.settings) == 2 * half
    rest = [{k: v for k, v in p.items() if k != "objective"} for p in tiny.settings]
    assert rest[:half] == rest[half:]
    for name in relations.LAYERWISE:
        assert tiny[name].shape == (2 * half, 2, 3, 2), name
    for name in relations.OVERALL:
        assert tiny[name].shape == (2 * half, 2, 2), name
    classify = np.array([p["objective"] == "classify" for p in tiny.settings])
    for name in ("duality", "disagree", "accuracy", "held_accuracy"):
        assert np.isfinite(tiny[name][classify]).all(), name
        assert np.isnan(tiny[name][~classify]).all(), name


def test_only_the_runs_with_decay_are_clustered(tiny):
    for point, acc in zip(tiny.settings, tiny["acc"], strict=True):
        assert np.isfinite(acc).all() == relations.clustered(point)
        if relations.clustered(point):
            assert ((acc >= 1 / 3) & (acc <= 1)).all()


def test_the_theorem_holds_on_every_layer(tiny):
    """What collapse keeps; NaN where a layer is dead."""
    for small, large in (("share_K", tiny["allowed_K"]), ("heard", np.ones(1))):
        assert not (tiny[small] > large * (1 + 1e-5)).any(), small


def test_weight_decay_is_passed_on(tiny):
    slow, decayed = (tiny.at(objective="classify", optimizer="adam", lr=0.003, decay=d, noise=0.1)
                     for d in (0.0, 1e-4))  # fmt: skip
    np.testing.assert_array_equal(slow["weight_norm"][0], decayed["weight_norm"][0])
    assert (slow["weight_norm"][1] != decayed["weight_norm"][1]).all()


def test_a_stored_trial_is_a_live_one(tiny):
    for point in (tiny.settings[1], tiny.settings[-1]):
        alone = EXPERIMENT.compute(replace(TINY, trials=1), point, "cpu")
        for name in ("loss", "share_r1", "labels_K", "variability", "sharpness"):
            stored = tiny.at(**point)[name][..., :1]
            np.testing.assert_allclose(alone[name], stored, rtol=2e-3, atol=1e-3, err_msg=name)


def test_the_points_have_mean_square_length_one():
    data, test = relations.unions(replace(TINY, trials=40), 0.0)
    for union in (data, test):
        assert float(union.X.square().sum(-2).mean()) == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(data.bases, test.bases)


def test_the_numbers_are_the_library_s():
    data, _ = relations.unions(TINY, 0.1)
    W = torch.randn(2, 16, 24, generator=torch.Generator().manual_seed(0)).double()
    Y, r, K = torch.relu(W @ data.X), data.rank, 3
    V, L = sl.row_basis(data.clean, r), indicators(data.labels)
    found = relations.describe(Y, V, data.labels)
    torch.testing.assert_close(found["share_K"], share_inside(V, sl.row_basis(Y, K)))
    torch.testing.assert_close(found["labels_K"], share_inside(L, sl.row_basis(Y, K)))
    spectral = sl.projection_distance(data.clean, Y, r, "spectral")
    torch.testing.assert_close(found["spectral"], spectral)
    s = torch.linalg.svdvals(Y)[0].square()
    kept = s[: int(found["rank"][0])].sum() / s.sum()
    assert kept >= 0.99
    assert s[: int(found["rank"][0]) - 1].sum() / s.sum() < 0.99
    E = Y - Y @ L.mT @ L
    weak = torch.linalg.svdvals(Y @ V.mT)[:, K] / torch.linalg.matrix_norm(E, 2)
    torch.testing.assert_close(found["heard"], weak)


@pytest.mark.parametrize("objective", ["classify", "reconstruct"])
def test_the_loss_is_the_one_that_was_trained(objective):
    point = next(p for p in EXPERIMENT.settings(TINY) if p["objective"] == objective)
    data, _ = relations.unions(TINY, point["noise"])
    network = relations.network_for(TINY, point)
    snaps = relations.follow(network, data, TINY.marks, TINY.seed + 2, objective=objective,
                             optimizer="adam", lr=0.003, normalize="data")  # fmt: skip
    weights = {k: p.double() for k, p in snaps[-1].params.items()}
    np.testing.assert_allclose(relations.loss_of(network, weights, data), snaps[-1].loss, rtol=1e-4)


def test_a_diverged_trial_is_struck_out():
    point = EXPERIMENT.settings(TINY)[-1] | {"lr": 1e6}
    found = EXPERIMENT.compute(TINY, point, "cpu")
    assert found["diverged"].all()
    assert np.isnan(found["share_r"][-1]).all()
    assert np.isfinite(found["share_r"][0]).all()


def test_methods_find_clean_clusters():
    data, _ = relations.unions(replace(TINY, ambient_dim=30), 0.0)
    found = relations.find_clusters(data.X, 3, data.rank, 0.1)
    for name in ("P_r", "ridge", "sparse", "linkage"):
        assert sl.clustering.accuracy(data.labels, found[name][0]) == 1, name
    assert sl.clustering.accuracy(data.labels, found["k-means"][0]) < 0.9

"""The objective: the experiment measures what it says, and its claim is judged fairly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.experiment import find, run
from evidence.objective import experiment as objective
from evidence.results import load_result, save
from evidence.setting import paper_data

EXPERIMENT = find("objective")
TINY = replace(EXPERIMENT.quick, trials=2, steps=20, marks=(0, 5, 20))


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


def test_every_network_under_both_objectives(tiny):
    networks = [{k: v for k, v in p.items() if k != "objective"} for p in tiny.settings]
    assert networks[::2] == networks[1::2]
    assert [p["objective"] for p in tiny.settings] == ["reconstruct", "classify"] * 4
    for name in objective.FOLLOWED:
        assert tiny[name].shape == (8, 3, 2), name
    assert np.isnan(tiny["accuracy"][::2]).all()
    assert np.isfinite(tiny["accuracy"][1::2]).all()
    assert (tiny["loss"][:, -1] < tiny["loss"][:, 0]).all()


def test_both_objectives_start_from_the_same_layer(tiny):
    for name in ("clean_to_post_fro", "share_r1", "labels_r", "dead_units"):
        np.testing.assert_array_equal(tiny[name][::2, 0], tiny[name][1::2, 0], err_msg=name)


def test_a_stored_trial_is_a_live_one(tiny):
    for point in tiny.settings:
        alone = EXPERIMENT.compute(replace(TINY, trials=1), point, "cpu")
        for name in ("loss", "share_r1", "labels_r", "clean_to_post_fro"):
            stored = tiny.at(**point)[name][:, :1]
            np.testing.assert_allclose(alone[name], stored, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_numbers_are_the_library_s():
    data = paper_data(TINY, 0.1)
    Y = torch.relu(torch.randn(2, 16, 40, generator=torch.Generator().manual_seed(0)).double())
    Y, r = Y @ data.X, data.rank
    found = objective.describe(Y, sl.row_basis(data.clean, r), data.labels, r, True)
    for norm in ("max", "spectral", "fro"):
        expected = sl.projection_distance(data.clean, Y, r, norm)
        torch.testing.assert_close(found[f"clean_to_post_{norm}"], expected)
    L = objective.indicators(data.labels).expand(2, -1, -1)
    distance = sl.projection_distance(L, Y, 3, "spectral")
    torch.testing.assert_close(found["labels_to_post_spectral"], distance)
    torch.testing.assert_close(found["share_r"], 1 - found["clean_to_post_fro"] ** 2 / (2 * r))


def test_labels_are_found_where_they_are():
    data = paper_data(TINY, 0.1)
    L = objective.indicators(data.labels)
    torch.testing.assert_close(L @ L.mT, torch.eye(3, dtype=torch.float64))
    weak = 1e-3 * torch.randn(2, 12, 60, generator=torch.Generator().manual_seed(0)).double()
    Y = torch.cat([L.expand(2, -1, -1), weak], 1)
    found = objective.describe(Y, sl.row_basis(data.clean, 6), data.labels, 6, True)
    assert (found["labels_K"] > 0.99).all()
    assert (found["acc_K"] == 1).all()
    # The price, with labels that are in Q up to what ``weak`` moves
    shares = (L @ sl.row_basis(data.clean, 6).mT).square().sum((-2, -1))
    assert (found["share_r"] <= 1 - (3 - shares) / 6 + 0.01).all()


def test_new_points_of_the_same_subspaces():
    data = paper_data(TINY, 0.0)
    fresh = objective.held_out(data, TINY, TINY.variance)
    torch.testing.assert_close(fresh.bases, data.bases)
    assert not torch.equal(fresh.clean, data.clean)
    assert sl.projectors.containment_distance(data.clean.mT, fresh.clean.mT, 6, 6).max() < 1e-9


@pytest.mark.parametrize(
    ("reconstruct", "classify", "verdict"),
    [
        (1.0, 1.0, "holds"),
        (1.0, 0.7, "holds under conditions"),
        (0.7, 0.7, "fails"),
    ],
)
def test_a_bias_of_the_network_shows_under_both(tmp_path, tiny, reconstruct, classify, verdict):
    shares = np.empty_like(tiny["share_r1"])
    shares[::2], shares[1::2] = reconstruct, classify
    arrays = {"share_r1": shares, "clean_to_post_spectral": 0 * shares + 1}
    save(replace(tiny, arrays=tiny.arrays | arrays), tmp_path)
    assert load_result("objective", tmp_path).settings == tiny.settings
    found = evidence.judge("implicit-bias", tmp_path)
    assert found.verdict == verdict
    assert len(found.measured) > 40

"""The diagnostic's experiment: two classifiers of digits, read by the probe."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence.diagnostic import experiment as probe_digits
from evidence.experiment import find, run
from evidence.results import load_result

EXPERIMENT = find("probe-digits")
TINY = replace(EXPERIMENT.quick, held_out=200)


@pytest.fixture(scope="module")
def tiny():
    return run(EXPERIMENT, TINY)


def test_every_array_has_its_axes(tiny):
    readings, marks, layers = len(TINY.readings), len(TINY.marks), 5
    for name in probe_digits.FOLLOWED:
        assert tiny[name].shape == (3, readings, marks, layers, TINY.trials), name
    for name in probe_digits.OF_THE_MODEL:
        assert tiny[name].shape == (3, marks, TINY.trials), name
        assert (tiny[name][:, -1] > tiny[name][:, 0]).all(), name
    assert (tiny["share"] <= tiny["share_twice"] + 1e-6).all()
    clustered = np.isfinite(tiny["acc"]).all((0, 2, 3, 4))
    assert clustered.tolist() == [rank in (10, 16) for _, rank in TINY.readings]


def test_the_input_holds_itself(tiny):
    of_pixels = [i for i, (name, _) in enumerate(TINY.readings) if name == "input"]
    point = tiny.at(model="mlp", reduce="flatten")
    np.testing.assert_allclose(point["share"][of_pixels, :, 0], 1, atol=1e-6)
    np.testing.assert_allclose(point["distance_spectral"][of_pixels, :, 0], 0, atol=1e-5)
    assert point["certified"][of_pixels, :, 0].all()
    assert (point["share"][of_pixels, :, 1:] < 0.99).all()


def test_pooling_changes_the_reading_and_not_the_model(tiny):
    flat, pooled = (tiny.at(model="cnn", reduce=how) for how in ("flatten", "mean"))
    for name in probe_digits.OF_THE_MODEL:
        np.testing.assert_array_equal(flat[name], pooled[name])
    np.testing.assert_array_equal(flat["share"][:, :, -1], pooled["share"][:, :, -1])
    assert (flat["share"][:, :, 0] > pooled["share"][:, :, 0]).all()


def test_the_numbers_are_the_library_s(tiny):
    data = probe_digits.split(TINY, 1)
    model = probe_digits.start("mlp", TINY, 1)
    with torch.no_grad():
        Y = model[:3](data.test_images).mT.double()
    for i, (kind, rank) in enumerate(TINY.readings):
        stored = tiny.at(model="mlp", reduce="flatten")
        distance = sl.projection_distance(data.reference(kind), Y, rank, "fro")
        share = 1 - float(distance) ** 2 / (2 * rank)
        assert stored["share"][i, 0, 1, 1] == pytest.approx(share, abs=1e-5)


def test_another_part_is_held_out_in_every_trial():
    first, second = (probe_digits.split(TINY, t) for t in (0, 1))
    assert len(first.test_labels) == TINY.held_out
    assert len(first.labels) == 1797 - TINY.held_out
    assert (first.test_labels.diff() >= 0).all()
    assert not torch.equal(first.test_images, second.test_images)
    rows = {tuple(x.flatten().tolist()) for x in first.images}
    assert not rows & {tuple(x.flatten().tolist()) for x in first.test_images}


def test_the_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    probe_digits.start("cnn", TINY, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_the_stored_trials_are_live_ones():
    stored = load_result("probe-digits")
    full = EXPERIMENT.full
    assert stored.settings == EXPERIMENT.settings(full)
    few = replace(full, trials=1, marks=full.marks[:2])
    for point in stored.settings[:2]:
        again, before = EXPERIMENT.compute(few, point, "cpu"), stored.at(**point)
        np.testing.assert_allclose(again["share"], before["share"][:, :2, :, :1], atol=0.02)

"""The theorem's experiments: a trial stands alone, and the numbers are the library's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import subspace_lib as sl
from evidence.experiment import find
from evidence.theorem.experiment import Config, DeepConfig

SMALL = {
    "trials": 3,
    "relative": (-20, -2),
    "m": 20,
    "n_subspaces": 2,
    "subspace_dim": 2,
    "points_per_subspace": 10,
    "width": 12,
}
SETTING, DEEP = Config(absolute=(-22,), **SMALL), DeepConfig(absolute=(), **SMALL, depth=2)


@pytest.mark.parametrize(
    ("name", "setting"), [("theorem-frequency", SETTING), ("theorem-depth", DEEP)]
)
def test_a_trial_alone_is_the_trial_of_a_longer_run(name, setting):
    experiment = find(name)
    point = experiment.settings(setting)[-1]
    long = experiment.compute(setting, point, "cpu")
    short = experiment.compute(replace(setting, trials=1), point, "cpu")
    for key, values in short.items():
        np.testing.assert_array_equal(values, long[key][:1])


def test_the_experiment_is_the_library():
    """Gaps, errors and verdicts are those of theorem_3_1 on the same trial."""
    point = {"convention": "relative", "activation": "relu", "log10_variance": -20}
    arrays = find("theorem-frequency").compute(SETTING, point, "cpu")
    data = sl.sample_union(
        ambient_dim=20, n_subspaces=2, subspace_dim=2, points_per_subspace=10, trials=3, seed=0
    )
    noisy = sl.add_noise(data, 1e-20, seed=0)
    W = sl.FeedForward((20, 12, 20)).init("usual", trials=3, seed=0, dtype=torch.float64)["W1"]
    Y = torch.relu(W @ noisy.X)
    P = sl.row_projector(data.clean, 4)
    margins = [sl.clustering.minimum_margin(P, data.labels), sl.connectivity_margin(P, data.labels)]
    np.testing.assert_allclose(arrays["margins"], torch.stack(margins, 1), rtol=1e-6)
    for f, form in enumerate(("printed", "links", "two-links")):
        for k, margin in enumerate(margins):
            cert = sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, margin, form)
            np.testing.assert_array_equal(arrays["holds"][:, f, k], cert.holds)
    terms = list(cert.terms.values())
    np.testing.assert_allclose(arrays["gaps"], torch.stack(terms[:3], 1), rtol=1e-8)
    # the library also counts s_{r+1}(X*), which is rounding here
    np.testing.assert_allclose(arrays["errors"], torch.stack(terms[3:], 1), rtol=1e-5)
    distance = sl.projection_distance(data.clean, Y, 4)
    np.testing.assert_allclose(arrays["distances"][:, 0], distance, rtol=1e-8, atol=1e-14)


def test_the_deep_experiment_is_the_library():
    arrays = find("theorem-depth").compute(
        DEEP, {"activation": "identity", "log10_variance": -20}, "cpu"
    )
    assert arrays["gaps"].shape == arrays["errors"].shape == (3, 4)
    assert arrays["distances"].shape == (3, 2, 2)
    bound = (arrays["errors"] / arrays["gaps"]).sum(1)
    assert (arrays["distances"][:, -1, 1] <= bound).all()
    assert arrays["recovered"].all()

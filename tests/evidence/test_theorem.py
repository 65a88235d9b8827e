"""The theorem's experiment: a trial stands alone, the numbers are the library's; one step."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from adversary import exact, hunt, leading, sines

import subspace_lib as sl
from evidence.experiment import find
from evidence.theorem import one_step_bound
from evidence.theorem.experiment import Config

SMALL = {
    "trials": 3,
    "relative": (-20, -2),
    "m": 20,
    "n_subspaces": 2,
    "subspace_dim": 2,
    "points_per_subspace": 10,
    "width": 12,
}
SETTING = Config(absolute=(-22,), **SMALL)


def test_a_trial_alone_is_the_trial_of_a_longer_run():
    experiment = find("theorem-frequency")
    point = experiment.settings(SETTING)[-1]
    long = experiment.compute(SETTING, point, "cpu")
    short = experiment.compute(replace(SETTING, trials=1), point, "cpu")
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


def layer(variance):
    """Clean data, noisy data and weights (3, 20, 40) of three layers."""
    sizes = {"ambient_dim": 40, "n_subspaces": 2, "subspace_dim": 2, "points_per_subspace": 15}
    data = sl.sample_union(**sizes, trials=3, seed=0)
    W = torch.randn(3, 20, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return data, sl.add_noise(data, variance, seed=1), W


@pytest.mark.parametrize("variance", [0.0, 1e-28, 1e-16, 1e-8, 1e-4, 1e-2])
def test_one_step_is_never_violated_and_the_search_beats_fixed_scales(variance):
    data, noisy, W = layer(variance)
    for Y in (W @ noisy.X, torch.relu(W @ noisy.X), 7.0 * (W @ noisy.X)):
        truth = sl.projection_distance(data.clean, Y, 4, "spectral")
        best = one_step_bound(data.clean, W, Y, 4)
        assert (truth <= best.bound).all()
        for scale in (0.25, 0.5, 1.0, 2.0, 7.0):
            fixed = one_step_bound(data.clean, W, Y, 4, scale)
            assert (truth <= fixed.bound).all()
            useful = fixed.bound < 1
            assert (best.bound[useful] <= fixed.bound[useful] * (1 + 1e-6) + 1e-9).all()


def test_one_step_says_what_it_expects():
    data, _, W = layer(0.0)
    Y = W @ data.clean
    with pytest.raises(ValueError, match="W must be"):
        one_step_bound(data.clean, W.mT, Y, 4)
    with pytest.raises(ValueError, match="scale must be positive"):
        one_step_bound(data.clean, W, Y, 4, 0.0)


@pytest.mark.parametrize("theta", [0.05, 0.3, 1.0])
def test_one_step_is_attained(theta):
    """A row turned by θ at another scale: a doubled bound, a halved one and ∞ fail."""
    clean = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    Y = torch.tensor([[math.cos(theta), math.sin(theta)], [0.0, 0.0]], dtype=torch.float64)
    bound = float(one_step_bound(clean, torch.eye(2, dtype=torch.float64), 5 * Y, 1).bound)
    assert 0.99 < math.sin(theta) / bound <= 1
    c = 5 * math.cos(theta)
    cert = one_step_bound(clean, torch.eye(2, dtype=torch.float64), 5 * Y, 1, scale=c)
    assert float(cert.bound) == pytest.approx(math.tan(theta), rel=1e-6)


@pytest.mark.parametrize("exponent", [-990, -500, 500, 990])
def test_one_step_does_not_depend_on_units(exponent):
    data, noisy, W = layer(1e-8)
    Y, unit = torch.nn.functional.gelu(0.01 * W @ noisy.X), 2.0**exponent
    one = one_step_bound(data.clean, W, Y, 4)
    assert (one.bound < 1).any()
    for given in ((unit * data.clean, W, unit * Y), (unit * data.clean, W / unit, Y)):
        other = one_step_bound(*given, 4)
        torch.testing.assert_close(other.bound, one.bound, rtol=1e-4, atol=1e-12)
        assert other.verdict == one.verdict


def test_one_step_pays_for_what_clean_data_have_beyond_the_rank():
    """Variance 1e-12 in the clean matrix, a layer that damps the signal, no other error."""
    data, _, W = layer(0.0)
    S = data.clean + 1e-6 * torch.randn(
        data.clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    u = data.bases[..., :1]
    W = W - (1 - 1e-6) * (W @ u) @ u.mT
    for clean in (S, data.clean.float().double()):
        truth = sl.projection_distance(clean, W @ clean, 4, "spectral")
        assert (truth > 1e-3).all()
        for scale in (None, 1.0):
            assert (truth <= one_step_bound(clean, W, W @ clean, 4, scale).bound).all()
    tiny = 2.0**-500 * torch.tensor([[2.4, 1.4]], dtype=torch.float64)
    weight = torch.tensor([[2.0**-574]], dtype=torch.float64)
    assert float(one_step_bound(tiny, weight, weight @ tiny, 1).bound) > 0.05


def one_step_claims(case):
    S, W, Y, r = (case[name] for name in "SWYr")
    r = int(r)
    moved = sines(leading(exact(S), r), leading(exact(Y), r))[0]
    for scale in (None, 1.0, 0.5):
        yield moved, float(one_step_bound(S, W, Y, r, scale).bound)


def test_an_adversary_does_not_fool_one_step():
    found = [hunt(one_step_claims, seed, 40) for seed in range(5)]
    assert sum(tried for _, tried in found) > 100
    assert max(best for best, _ in found) > 0.5


@pytest.mark.long
def test_a_long_hunt_does_not_fool_one_step():
    for seed in range(100, 140):
        hunt(one_step_claims, seed, 100)

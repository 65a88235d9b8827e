"""Chapter *reference*: its comparison is rigorous, its depth agrees with the corollary."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from adversary import exact, hunt, leading, sines

import evidence
import subspace_lib as sl
from evidence.reference import claims, one_step_bound
from evidence.reference import experiment as reference
from evidence.results import Result
from evidence.verdict import decide


def test_the_comparison_is_rigorous_and_its_trials_are_independent():
    config = reference.Comparison(
        trials=12, points_per_subspace=20, ambient_dim=60, width=40, noise=(-3,)
    )
    for layer in reference.LAYERS:
        point = {"layer": layer, "noise": -3}
        found = reference.compute(config, point, "cpu")
        assert found["bound"].shape == (12, 4, 2)
        assert (found["truth"] <= found["bound"]).all()
        fewer = reference.compute(replace(config, trials=3), point, "cpu")
        for name, values in fewer.items():
            assert values == pytest.approx(found[name][:3], rel=1e-9)


def test_the_depth_experiment_agrees_with_the_corollary_and_is_rigorous():
    config = reference.Depth(trials=2, depth=3, points_per_subspace=20, ambient_dim=60, width=40)
    for layer in reference.DEEP:
        found = reference.compute_depth(config, {"layer": layer, "noise": -6}, "cpu")
        assert (found["truth"] <= found["bound"]).all()
        assert (found["truth"][:, :, 0, 0] <= found["chain"]).all()
    data = sl.sample_union(
        ambient_dim=60, n_subspaces=4, subspace_dim=4, points_per_subspace=20, trials=2, seed=0
    )
    noisy = sl.add_noise(data, 1e-6, seed=0)
    layers = reference.deep_layers(config, "orthogonal", noisy.X, [0, 1])
    chain = sl.bounds.depth_corollary(data.clean, noisy.noise, layers, 16, 0.1).bound
    found = reference.compute_depth(config, {"layer": "orthogonal", "noise": -6}, "cpu")
    assert found["chain"][:, -1] == pytest.approx(chain.numpy(), rel=1e-6)


def test_the_verdict_on_depth_follows_the_numbers():
    run = evidence.load_result("reference-depth")
    slugs = ("sum-of-links", "equal-shares")
    counts = {"passed": np.array([True, True]), "instances": np.array([9, 9])}
    arrays = {**counts, "violations": np.array([0, 0])}
    proofs = Result("statements", {}, [{"statement": slug} for slug in slugs], arrays)

    def read(**arrays):
        found = claims.judge(replace(run, arrays={**run.arrays, **arrays}), proofs)
        return decide(found)[1].name

    named = ", ".join(evidence.find_statement(slug).number for slug in slugs)
    assert read() == f"as a bound ({named})"
    silent, speaking = run["bound"] + 2, np.zeros_like(run["chain"])
    assert read(bound=silent, chain=speaking).startswith("as a necessity")
    assert read(bound=silent, chain=speaking + 2).startswith(
        "as a bound"
    )  # where neither speaks nothing is needed
    adding = run["truth"][:, :, :1] * np.arange(1, 21)[:, None, None]
    assert read(truth=adding).startswith("as an equality")


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


@pytest.mark.slow
def test_a_long_hunt_does_not_fool_one_step():
    for seed in range(100, 140):
        hunt(one_step_claims, seed, 100)

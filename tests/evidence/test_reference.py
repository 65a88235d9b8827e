"""Chapter *reference*: its comparison is rigorous, its depth agrees with the corollary."""

from dataclasses import replace

import pytest
import torch

import evidence
import subspace_lib as sl
from evidence.reference import claims, one_step_bound
from evidence.reference import experiment as reference


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

    def verdict(**arrays):
        return claims.judge(replace(run, arrays={**run.arrays, **arrays})).verdict

    assert verdict() == "fails"
    assert verdict(bound=0 * run["truth"]) == "holds"  # violated
    assert verdict(bound=run["bound"] + 2) == "holds"  # says nothing at the last layer
    growing = run["bound"].copy()
    growing[:, :, -1] = 0.99
    growing = growing.clip(run["truth"])
    assert verdict(bound=growing) == "holds under conditions we name"


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

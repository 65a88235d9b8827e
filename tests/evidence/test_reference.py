"""Chapter *reference*: its comparison is rigorous, its depth agrees with the corollary."""

from dataclasses import replace

import pytest

import evidence
import subspace_lib as sl
from evidence.reference import claims
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

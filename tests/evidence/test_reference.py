"""Chapter *reference*: its comparison is rigorous, its depth agrees with the corollary."""

from dataclasses import replace

import numpy as np
import pytest

import evidence
import subspace_lib as sl
from evidence.reference import claims
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

"""Relations: the measures against slow references, the experiment, theorems on trained networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import subspace_lib as sl
from evidence.experiment import find, run
from evidence.measures import indicators, share_inside
from evidence.relations import experiment as relations
from evidence.relations import measures as rel

F64 = torch.float64
EXPERIMENT = find("relations")
TINY = replace(EXPERIMENT.quick, trials=2, steps=20, marks=(0, 20))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# ---------------------------------------------------------------- neural collapse


def slow_collapse(Y, labels, D):
    """The definitions, one class and one pair at a time."""
    K = int(labels.max()) + 1
    means = [Y[:, labels == k].mean(1) for k in range(K)]
    overall = sum(means) / K
    S_W = sum(
        torch.outer(Y[:, j] - means[k], Y[:, j] - means[k]) for j, k in enumerate(labels.tolist())
    ) / len(labels)
    S_B = sum(torch.outer(m - overall, m - overall) for m in means) / K
    lengths = torch.stack([(m - overall).norm() for m in means])
    angles = [
        abs(
            float((means[a] - overall) @ (means[b] - overall) / lengths[a] / lengths[b])
            + 1 / (K - 1)
        )
        for a in range(K)
        for b in range(K)
        if a != b
    ]
    M = torch.stack([m - overall for m in means], 1)
    wrong = sum(
        min(range(K), key=lambda k: float((Y[:, j] - means[k]).norm())) != int(labels[j])
        for j in range(len(labels))
    )
    return {
        "variability": float((S_W @ torch.linalg.pinv(S_B, rtol=1e-9)).trace()) / K,
        "scatter": float(S_W.trace() / S_B.trace()),
        "norms": float(lengths.std(correction=0) / lengths.mean()),
        "angles": sum(angles) / len(angles),
        "duality": float((D.mT / D.norm() - M / M.norm()).square().sum()),
        "nearest": wrong / len(labels),
    }


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(4, 7))
def test_collapse_is_its_definitions(seed, classes, width):
    labels = torch.arange(classes).repeat_interleave(4)[: 4 * classes - 1]  # unequal classes
    Y = normal(2, width, len(labels), seed=seed) + normal(2, width, classes, seed=9)[..., labels]
    D = normal(2, classes, width, seed=seed + 1)
    found = rel.neural_collapse(Y, labels, D)
    for t in range(2):
        for name, expected in slow_collapse(Y[t], labels, D[t]).items():
            assert float(getattr(found, name)[t]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_an_exact_collapse_is_all_zero():
    """One-hot vectors, centred, are a simplex: every measure vanishes, the dual readout's too."""
    labels = torch.arange(4).repeat(5)
    Y = torch.eye(4, dtype=F64)[:, labels] + 3.0
    D = 2.5 * (torch.eye(4, dtype=F64) - 0.25)
    found = rel.neural_collapse(Y, labels, D)
    for name in ("variability", "scatter", "norms", "angles", "duality", "nearest"):
        assert float(getattr(found, name)) == pytest.approx(0, abs=1e-12), name
    guess = torch.zeros(20, dtype=torch.long)
    assert float(rel.neural_collapse(Y, labels, guess=guess).nearest) == 0.75
    assert rel.neural_collapse(Y, labels).duality is None


def test_classes_with_one_mean_have_not_collapsed():
    Y = torch.tensor([[1.0, -1.0, 2.0, -2.0]], dtype=F64)
    assert torch.isinf(rel.neural_collapse(Y, torch.tensor([0, 0, 1, 1])).variability)


# ---------------------------------------------------------------- sharpness


@pytest.mark.parametrize("iterations", [12, 60])
def test_sharpness_is_the_largest_eigenvalue_of_the_full_hessian(iterations):
    X = normal(3, 4, 9)
    net = sl.FeedForward((4, 3, 4), "tanh")
    params = net.init("usual", trials=3, seed=0, dtype=F64)

    def loss(p):
        return (net.output(p, X) - X).square().sum((-2, -1))

    found = rel.sharpness(loss, params, iterations=iterations)
    for t in range(3):
        one = {k: p[t : t + 1] for k, p in params.items()}
        sizes = [p.numel() for p in one.values()]

        def flat(theta, t=t, one=one, sizes=sizes):
            parts = theta.split(sizes)
            weights = {k: v.view_as(one[k]) for k, v in zip(one, parts, strict=True)}
            return (net.output(weights, X[t : t + 1]) - X[t : t + 1]).square().sum()

        theta = torch.cat([p.flatten() for p in one.values()])
        H = torch.func.hessian(flat)(theta)
        top = float(torch.linalg.eigvalsh(H)[-1])
        assert float(found[t]) == pytest.approx(top, rel=1e-3 if iterations == 12 else 1e-9)
        assert float(found[t]) <= top * (1 + 1e-9)


def test_sharpness_of_a_quadratic_with_few_eigenvalues():
    """The Krylov space is exhausted after two steps; what follows must not disturb."""
    scale = torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0], dtype=F64)
    found = rel.sharpness(
        lambda p: (scale * p["x"].square()).sum(-1) / 2, {"x": normal(2, 5)}, iterations=5
    )
    torch.testing.assert_close(found, torch.full((2,), 3.0, dtype=F64))


# ---------------------------------------------------------------- bad input


def test_bad_input():
    X, labels = normal(4, 6), torch.tensor([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match="two classes"):
        rel.neural_collapse(X, torch.zeros(6, dtype=torch.long))
    with pytest.raises(ValueError, match="readout must be"):
        rel.neural_collapse(X, labels, normal(3, 5))
    with pytest.raises(ValueError, match="one label per column"):
        rel.neural_collapse(X, labels[:-1])
    with pytest.raises(ValueError, match="finite"):
        rel.neural_collapse(torch.full((4, 6), torch.nan), labels)


# ---------------------------------------------------------------- the experiment


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
    slow, decayed = (
        tiny.at(objective="classify", optimizer="adam", lr=0.003, decay=d, noise=0.1)
        for d in (0.0, 1e-4)
    )
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
    snaps = relations.follow(
        network,
        data,
        TINY.marks,
        TINY.seed + 2,
        objective=objective,
        optimizer="adam",
        lr=0.003,
        normalize="data",
    )
    weights = {k: p.double() for k, p in snaps[-1].params.items()}
    np.testing.assert_allclose(relations.loss_of(network, weights, data), snaps[-1].loss, rtol=1e-4)


def test_a_diverged_trial_is_struck_out():
    point = EXPERIMENT.settings(TINY)[-1] | {"lr": 1e6}
    found = EXPERIMENT.compute(TINY, point, "cpu")
    assert found["diverged"].all()
    assert np.isnan(found["share_r"][-1]).all()
    assert np.isfinite(found["share_r"][0]).all()

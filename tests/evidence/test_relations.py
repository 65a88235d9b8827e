"""Relations: the measures against slow references, the experiment, theorems on trained networks."""

import math
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


def nuclear(C):
    return float(torch.linalg.matrix_norm(C, "nuc"))


# ---------------------------------------------------------------- self-expression


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
def test_the_projector_has_the_least_nuclear_norm(seed, rank, more):
    """Every other C with X = XC, near or far, has a larger one."""
    X = normal(5, rank, seed=seed) @ normal(rank, rank + more, seed=seed + 1)
    P = sl.row_projector(X, sl.projectors.numerical_rank(X))
    free = torch.eye(len(P), dtype=F64) - P
    for size in (1e-2, 1.0, 10.0):
        C = P + size * free @ normal(*P.shape, seed=seed + 2)
        torch.testing.assert_close(X @ C, X, atol=1e-9, rtol=1e-9)
        assert nuclear(C) > nuclear(P)
        assert torch.linalg.matrix_norm(C) > torch.linalg.matrix_norm(P)


def test_singular_value_thresholding_finds_the_projector():
    """The algorithm of low-rank representation (doi:10.1109/TPAMI.2012.88) ends at P(X)."""
    X = normal(6, 3) @ normal(3, 9, seed=1)
    X = X / torch.linalg.matrix_norm(X, 2)
    C = J = dual = torch.zeros(9, 9, dtype=F64)
    slack, mu, eye = torch.zeros_like(X), 1e-2, torch.eye(9, dtype=F64)
    for _ in range(300):
        U, s, Vh = torch.linalg.svd(C + dual / mu)
        J = (U * (s - 1 / mu).clamp(min=0)) @ Vh
        right = X.mT @ (X + slack / mu) + J - dual / mu
        C = torch.linalg.solve(eye + X.mT @ X, right)
        slack, dual = slack + mu * (X - X @ C), dual + mu * (C - J)
        mu = min(1.1 * mu, 1e6)
    torch.testing.assert_close(J, sl.row_projector(X, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 50.0])
def test_ridge_solves_its_normal_equations(penalty):
    X = normal(2, 5, 8)
    G = X.mT @ X
    C = rel.ridge_self_expression(X, penalty)
    torch.testing.assert_close((G + penalty * torch.eye(8, dtype=F64)) @ C, G)
    per_trial = rel.ridge_self_expression(X, torch.tensor([penalty, 2 * penalty], dtype=F64))
    torch.testing.assert_close(per_trial[0], C[0])
    torch.testing.assert_close(per_trial[1], rel.ridge_self_expression(X[1], 2 * penalty))


def test_ridge_without_penalty_is_the_projector():
    X = normal(6, 3) @ normal(3, 10, seed=1)
    C = rel.ridge_self_expression(X, 1e-10)
    torch.testing.assert_close(C, sl.row_projector(X, 3), atol=1e-8, rtol=0)
    found = rel.ridge_self_expression(X.numpy(), 1e-10)
    assert isinstance(found, np.ndarray)


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_sparse_meets_the_conditions_of_optimality(seed, penalty):
    """x_jᵀ(x_i − Xc) = α sign c_j where c_j ≠ 0, at most α in size elsewhere; c_i = 0."""
    X = normal(6, 12, seed=seed)
    C = rel.sparse_self_expression(X, penalty)
    A = X / X.norm(dim=0)
    G, off = A.mT @ A, ~torch.eye(12, dtype=torch.bool)
    alpha = penalty * G.abs().masked_fill(~off, 0).amax(0)
    slope = (G - G @ C).masked_fill(~off, 0)
    assert (C.diagonal() == 0).all()
    assert (slope.abs() <= alpha + 1e-9).all()
    used = C.abs() > 1e-9
    torch.testing.assert_close(slope[used], (alpha * C.sign())[used], atol=1e-9, rtol=0)


def test_sparse_keeps_to_its_own_subspace_and_is_not_the_projector():
    data = sl.sample_union(
        ambient_dim=30, n_subspaces=3, subspace_dim=2, points_per_subspace=12, seed=0
    )
    C = rel.sparse_self_expression(data.X, 0.05).abs()
    across = data.labels[:, None] != data.labels
    assert C[across].sum() < 0.02 * C.sum()
    assert (C > 1e-9).sum(0).max() <= 4
    P = sl.row_projector(data.X, 6)
    assert torch.linalg.matrix_norm(C - P) > 0.5 * torch.linalg.matrix_norm(P)


def test_sparse_with_a_point_at_the_origin():
    X = torch.cat([normal(4, 6), torch.zeros(4, 1, dtype=F64)], 1)
    C = rel.sparse_self_expression(X)
    assert (C[:, -1] == 0).all()
    assert (C[-1] == 0).all()


# ---------------------------------------------------------------- vanishing polynomials


def test_veronese_lists_the_monomials():
    X = normal(3, 5)
    x, y, z = X
    expected = torch.stack([x * x, x * y, x * z, y * y, y * z, z * z])
    torch.testing.assert_close(rel.veronese(X, 2), expected)
    assert rel.veronese(normal(2, 4, 7), 3).shape == (2, math.comb(6, 3), 7)


def test_a_polynomial_of_degree_two_vanishes_on_two_planes():
    normals = normal(2, 3)
    points = [
        torch.linalg.svd(n[None]).Vh[1:].mT @ normal(2, 20, seed=5 + i)
        for i, n in enumerate(normals)
    ]
    X = torch.cat(points, 1)
    s = torch.linalg.svdvals(rel.veronese(X, 2))
    assert s[-1] < 1e-12 * s[0]
    assert s[-2] > 1e-3 * s[0]
    assert torch.linalg.svdvals(rel.veronese(X, 1))[-1] > 1e-3


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
    with pytest.raises(ValueError, match="penalty must be positive"):
        rel.ridge_self_expression(X, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rel.sparse_self_expression(X, 1.0)
    with pytest.raises(ValueError, match="one matrix"):
        rel.sparse_self_expression(normal(2, 4, 6))
    with pytest.raises(ValueError, match="degree"):
        rel.veronese(X, 0)
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


def test_methods_find_clean_clusters():
    data, _ = relations.unions(replace(TINY, ambient_dim=30), 0.0)
    found = relations.find_clusters(data.X, 3, data.rank, 0.1)
    for name in ("P_r", "ridge", "sparse", "linkage"):
        assert sl.clustering.accuracy(data.labels, found[name][0]) == 1, name
    assert sl.clustering.accuracy(data.labels, found["k-means"][0]) < 0.9

"""Entrywise bounds and cluster certificates: truth, tightness, controls, and what is certified."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

import subspace_lib as sl
from subspace_lib.clustering import cluster_trees
from subspace_lib.entrywise import (
    _certified_points,
    _entries,
    _largest_component,
    _rows,
    certified_share,
)
from subspace_lib.reference import compare, compare_checked

F64 = torch.float64


def layer(seed, n, p, k, size):
    """A random layer whose row space lies near a random reference, or far for a large ``size``."""
    g = torch.Generator().manual_seed(seed)
    R = torch.linalg.qr(torch.randn(n, k, generator=g, dtype=F64)).Q.T
    Y = torch.randn(p, k, generator=g, dtype=F64) @ R
    return Y + size * torch.randn(p, n, generator=g, dtype=F64), R


layers = st.builds(
    layer,
    st.integers(0, 10**6),
    st.integers(6, 16),
    st.integers(3, 8),
    st.integers(1, 3),
    st.floats(-9, 0.3).map(lambda a: 10**a),
)


def union(variance, trials=3, weights=20, seed=0, bias=0.0):
    data = sl.sample_union(
        ambient_dim=40,
        n_subspaces=3,
        subspace_dim=2,
        points_per_subspace=20,
        trials=trials,
        seed=seed,
    )
    noisy = sl.add_noise(data, variance, seed=1)
    g = torch.Generator().manual_seed(seed)
    return data, torch.randn(trials, weights, 40, generator=g, dtype=F64) @ noisy.X + bias


@given(layers)
@settings(max_examples=300)
def test_the_three_bounds_are_never_violated(case):
    Y, R = case
    cert = sl.entrywise.entrywise_bound(Y, R)
    if cert.verdict != "certifies":
        assert torch.isinf(cert.bound).all()
        return
    Q, P = sl.row_projector(Y, len(R)), R.T @ R
    assert ((Q - P).abs() <= cert.terms["A"]).all()
    assert ((Q - cert.terms["centre"]).abs() <= cert.terms["remainder"]).all()
    assert ((Q - cert.terms["centre C"]).abs() <= cert.terms["remainder C"]).all()
    best = torch.stack([cert.terms[form] for form in "ABC"]).amin(0)
    assert torch.equal(cert.bound, best)
    entries = _entries(compare_checked(Y, R))
    assert (entries.lower <= Q.abs()).all()
    assert (Q.abs() <= entries.upper).all()


def test_the_fixed_point_equation():
    Y, R = layer(3, 12, 6, 2, 0.3)
    k = len(R)
    U, sigma, Oh = torch.linalg.svd(Y @ R.T, full_matrices=False)
    V, eye = R.T @ Oh.T, torch.eye(12, dtype=F64)
    P, Q = V @ V.T, sl.row_projector(Y, k)
    F0 = (eye - P) @ Y.T @ U / sigma
    basis = sl.row_basis(Y, k).T
    F = (eye - P) @ basis @ torch.linalg.inv(V.T @ basis)
    G, S = (eye - Q) @ Y.T @ Y @ (eye - Q), (eye - Q) @ V
    right = F0 - ((eye - P) - F @ V.T) @ G @ S / sigma**2
    torch.testing.assert_close(F, right, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(S, -(eye - Q) @ F, rtol=1e-10, atol=1e-12)
    inside = torch.linalg.inv(torch.eye(k, dtype=F64) + F.T @ F)
    torch.testing.assert_close((V + F) @ inside @ (V + F).T, Q, rtol=1e-10, atol=1e-12)


@given(st.floats(0.01, 1.4))
def test_one_turned_direction_attains_the_quadratic_term(theta):
    """Y of rank one: |Q − P|₁₁ = sin²θ, and the bound is sin²θ P₁₁."""
    R, Y = np.array([[1.0, 0.0]]), np.array([[math.cos(theta), math.sin(theta)], [0, 0]])
    bound = float(sl.entrywise.entrywise_bound(Y, R).terms["A"][0, 0])
    assert 0.99 < math.sin(theta) ** 2 / bound <= 1


@given(st.floats(-6, -2))
def test_the_linear_term_is_attained_by_small_angles(exponent):
    theta = 10**exponent
    R, Y = np.array([[1.0, 0.0]]), np.array([[math.cos(theta), math.sin(theta)], [0, 0]])
    cert = sl.entrywise.entrywise_bound(Y, R)
    truth = math.sin(theta) * math.cos(theta)
    for form in ("A", "B"):
        assert 0.99 < truth / float(cert.terms[form][0, 1]) <= 1


@pytest.mark.parametrize("dropped", ["x", "linear", "remainder"])
def test_negative_control_every_part_of_the_bound_is_needed(dropped):
    """1/(1 − x) in τ; the linear term of (A); the remainder of (B)."""
    beaten = False
    for seed in range(20):
        Y, R = layer(seed, 8, 5, 2, 0.3)
        cert = sl.entrywise.entrywise_bound(Y, R)
        if cert.verdict != "certifies":
            continue
        difference = sl.row_projector(Y, 2) - R.T @ R
        if dropped == "x":
            F0 = compare_checked(Y, R).F0
            weaker = (torch.linalg.matrix_norm(F0, 2) ** 2).expand_as(difference)
        elif dropped == "linear":
            root = (R.T @ R).diagonal().sqrt()
            weaker = cert.terms["sin θ"] ** 2 * root[:, None] * root
        else:
            difference = sl.row_projector(Y, 2) - cert.terms["centre"]
            weaker = torch.full_like(difference, 1e-6)
        beaten |= bool((difference.abs() > weaker).any())
    assert beaten


def test_without_a_gap_the_formula_would_be_wrong_and_the_bound_is_infinite():
    Y, R = np.diag([0.5, 1.0]), np.array([[1.0, 0.0]])
    cert = sl.entrywise.entrywise_bound(Y, R)
    assert cert.verdict == "no gap"
    assert bool(
        torch.isinf(torch.as_tensor(cert.bound)).all()
    )  # F₀ = 0 here: γ = 0, while |Q − P| = 1


def exact_projector(A, rank):
    """P_rank(A) of the very numbers in A, in 60 digits."""
    with mpmath.workdps(60):
        M = mpmath.matrix(A.tolist())
        values, vectors = mpmath.eigsy(M.T * M)
        order = sorted(range(len(values)), key=lambda i: -values[i])[:rank]
        basis = mpmath.matrix([[vectors[i, j] for j in order] for i in range(M.cols)])
        return basis * basis.T


@pytest.mark.parametrize("seed", range(25))
def test_the_rounding_allowance_covers_badly_scaled_layers(seed):
    """σ₁/σ₂ up to 1e13 and units up to 1e150: against 60-digit arithmetic, not a second SVD."""
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(4, generator=g, dtype=F64).tolist()
    rotations = (torch.randn(n, n, generator=g, dtype=F64) for n in (3, 5))
    left, basis = (torch.linalg.qr(A).Q for A in rotations)
    core, size = torch.zeros(3, 5, dtype=F64), 10 ** (-13 * u[0])
    core[0, 0], core[0, 2] = 1.0, min(1.0, 10 ** (6 * u[1] - 4))
    core[1, 1], core[1, 3], core[2, 4] = size, 10 ** (3 * u[2] - 3) * size, 0.3 * size
    Y, R = left @ core @ basis * 10 ** (300 * u[3] - 150), basis[:2]
    cert = sl.entrywise.entrywise_bound(Y, R)
    assert cert.holds
    Q, P = exact_projector(Y, 2), exact_projector(R, 2)
    for i in range(5):
        for j in range(5):
            assert abs(Q[i, j] - P[i, j]) <= float(cert.bound[i, j])
            assert float(cert.terms["lower"][i, j]) <= abs(Q[i, j])
            assert abs(Q[i, j]) <= float(cert.terms["upper"][i, j])


@given(layers, st.floats(-200, 200))
@settings(max_examples=50)
def test_units_do_not_matter(case, exponent):
    Y, R = case
    one, other = (
        sl.entrywise.entrywise_bound(Y, R),
        sl.entrywise.entrywise_bound(Y * 10**exponent, R),
    )
    torch.testing.assert_close(one.bound, other.bound, rtol=1e-6, atol=1e-9)


def recovered(Q, y, kept, c):
    """Are the components of {|Q| > c} among the kept points their clusters?"""
    inside = np.flatnonzero(kept)
    graph = np.abs(Q[np.ix_(inside, inside)]) > c
    found = connected_components(graph, directed=False)[1]
    return np.array_equal(found[:, None] == found, y[inside][:, None] == y[inside])


@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_what_is_certified_is_true(bias):
    """Whole or in part, at every noise: recomputed from Q, which the certificate never looks at."""
    whole = part = 0
    for variance in (0.0, 1e-6, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0):
        data, Y = union(variance, bias=bias)
        R = sl.row_basis(data.clean, 6)
        if bias:  # one direction more, and R is not block diagonal
            R = sl.row_basis(torch.cat([data.clean, torch.ones(3, 1, 60, dtype=F64)], 1), 7)
        cert, y = sl.certify_clusters(Y, R, data.labels), data.labels.numpy()
        quick = sl.certify_clusters(Y, R, data.labels, share=False)
        assert torch.equal(cert.holds, quick.holds)
        assert torch.equal(quick.certified, cert.holds[:, None].expand(3, 60))
        Q = sl.row_projector(Y, R.shape[-2]).numpy()
        for trial in range(3):
            kept, c = cert.certified[trial].numpy(), float(cert.used[trial])
            assert bool(kept.all()) == bool(cert.holds[trial])
            assert kept.any() == (not math.isnan(c))
            if kept.any():
                assert recovered(Q[trial], y, kept, c)
                assert np.bincount(y[kept], minlength=3).min() >= 2
            whole += bool(cert.holds[trial])
            part += bool(kept.any()) and not kept.all()
    assert whole >= 3
    assert part >= 3


@pytest.mark.slow
@given(st.integers(0, 10**5))
@settings(max_examples=15, deadline=None)
def test_kept_points_satisfy_the_conditions_and_never_beat_the_best_set(seed):
    """Random intervals on seven points, against every subset and every threshold."""
    g = np.random.default_rng(seed)
    middle, width = g.uniform(size=(7, 7)), g.uniform(0, 0.4, size=(7, 7))
    lower, upper = (middle - width).clip(0), middle + width
    lower, upper = np.minimum(lower, lower.T), np.maximum(upper, upper.T)
    y = np.array([0, 0, 0, 1, 1, 1, 1])

    def fine(kept, c):
        inside = np.flatnonzero(kept)
        sizes = np.bincount(y[inside])
        across = y[inside][:, None] != y[inside]
        if len(inside) == 0 or sizes[sizes > 0].min() < 2:
            return False
        low, up = lower[np.ix_(inside, inside)], upper[np.ix_(inside, inside)]
        found = connected_components((low > c) & ~across, directed=False)[0]
        return found == (sizes > 0).sum() and not (up[across] > c).any()

    edges, order = cluster_trees(torch.from_numpy(lower), y)
    kept, c = _certified_points(lower, upper, edges.numpy(), order.numpy(), y)
    assert fine(kept, c) or not kept.any()
    subsets = np.array([[(i >> j) & 1 for j in range(7)] for i in range(128)], dtype=bool)
    cuts = np.nextafter(np.unique(lower[lower > 0]), 0)
    best = max((s.sum() for s in subsets for c in cuts if fine(s, c)), default=0)
    assert kept.sum() <= best


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_bound_that_is_unknown_certifies_nobody(unknown):
    """Every other entry says that there are two clusters."""
    y = np.array([0, 0, 0, 1, 1, 1])
    lower = np.where(y[:, None] == y, 0.5, 0.0)
    upper = lower + 0.1
    edges, order = cluster_trees(torch.from_numpy(lower), y)
    trees = edges.numpy(), order.numpy(), y
    assert _certified_points(lower, upper, *trees)[0].all()
    upper[0, 5] = upper[5, 0] = unknown
    assert not _certified_points(lower, upper, *trees)[0].any()


@pytest.mark.parametrize("variance", [1e-6, 1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("singular_values", [False, True])
def test_the_share_alone_is_the_share_of_the_certificate(variance, singular_values):
    data, Y = union(variance)
    R = sl.row_basis(data.clean, 6)
    values = torch.linalg.svdvals(Y)[..., :9] if singular_values else None
    for y in (data.labels, torch.arange(60) % 3, torch.arange(60)):  # right, wrong, single points
        found, whole = compare(Y, R, 6, values), sl.certify_clusters(Y, R, y).certified_share
        torch.testing.assert_close(certified_share(found, y), whole)
        torch.testing.assert_close(certified_share(found[1], y), whole[1])
    noise = torch.randn(3, 20, 60, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert (certified_share(compare(noise, R, 6), data.labels) == 0).all()


def test_the_share_falls_with_the_noise():
    shares = []
    for variance in (1e-4, 1e-2, 0.1, 10.0):
        data, Y = union(variance, trials=8)
        cert = sl.certify_clusters(Y, sl.row_basis(data.clean, 6), data.labels)
        shares.append(float(cert.certified_share.median()))
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0


def test_one_wrong_point_costs_one_point():
    """A copy of a point of another cluster under its label: removed, and all others stay."""
    data, Y = union(1e-5, trials=1)
    y = data.labels.clone()
    y[0] = 2  # a point of cluster 0, called 2
    cert = sl.certify_clusters(Y[0], sl.row_basis(data.clean[0], 6), y)
    assert not cert.holds
    assert not cert.certified[0]
    assert cert.certified[1:].all()


def test_noise_alone_certifies_nothing():
    data, _ = union(0.0)
    noise = torch.randn(3, 20, 60, generator=torch.Generator().manual_seed(0), dtype=F64)
    cert = sl.certify_clusters(noise, sl.row_basis(data.clean, 6), data.labels)
    assert not cert.holds.any()
    assert (cert.certified_share == 0).all()
    assert cert.used.isnan().all()


def test_bad_input():
    data, Y = union(0.0)
    R = sl.row_basis(data.clean, 6)
    with pytest.raises(ValueError, match="orthonormal rows"):
        sl.entrywise.entrywise_bound(Y, 2 * R)
    with pytest.raises(ValueError, match="same number of columns"):
        sl.certify_clusters(Y[..., :5], R, data.labels)
    with pytest.raises(ValueError, match="labels must have shape"):
        sl.certify_clusters(Y, R, data.labels[:5])
    with pytest.raises(TypeError, match="floating-point"):
        sl.entrywise.entrywise_bound(torch.ones(3, 4, dtype=torch.int64), R)


@pytest.mark.parametrize("a", [1e-4, 0.1, 0.3, 0.49])
def test_the_divisor_of_the_rows_is_needed(a):
    """s = 1, t² = 1 − a, 45 degrees: the row of F is 1, and g without the divisor stays below."""
    R, Y = np.array([[1.0, 0.0]]), np.array([[1.0, a], [0.0, math.sqrt(1 - a * a)]])
    rows = _rows(compare_checked(torch.as_tensor(Y), torch.as_tensor(R)))
    x, rho = 1 - a, math.sqrt(0.5)
    g = a + math.sqrt((1 - a) / 2)
    assert g < 1
    assert float(rows.g[1]) == pytest.approx(g, rel=1e-9)
    assert float(rows.tangent) == pytest.approx(1, rel=1e-9)
    assert 1 - a <= float(rows.mu[1])  # row of F − F₀ = 1 − a
    expected = x * rho**2 * g / (1 - x * rho**2) + math.sqrt((1 - a) / 2)
    assert float(rows.mu[1]) == pytest.approx(expected, rel=1e-9)
    if a < 0.3:  # without the divisor this would be violated
        assert x * rho**2 * g + math.sqrt((1 - a) / 2) < 1.1 * expected


def test_the_bound_on_the_rows_of_q_is_attained():
    """‖Q(I − P)e₂‖ = sin 45° against g → sin 45° as a → 0: an infinite or doubled (A) fails."""
    a = 1e-3
    R, Y = np.array([[1.0, 0.0]]), np.array([[1.0, a], [0.0, math.sqrt(1 - a * a)]])
    cert = sl.entrywise.entrywise_bound(Y, R)
    for form in "AB":
        assert 0.99 < 0.5 / float(cert.terms[form][1, 1]) <= 1


def test_the_orders_of_the_three_remainders():
    """Halving the noise halves (A), quarters the remainder of (B), takes an eighth of (C)'s."""
    g = torch.Generator().manual_seed(0)
    R = torch.linalg.qr(torch.randn(12, 2, generator=g, dtype=F64)).Q.T
    M, N = torch.randn(4, 2, generator=g, dtype=F64), torch.randn(4, 12, generator=g, dtype=F64)
    one, half = (sl.entrywise.entrywise_bound(M @ R + size * N, R).terms for size in (2e-3, 1e-3))
    for name, order in (("A", 1), ("remainder", 2), ("remainder C", 3)):
        ratio = float(one[name].max() / half[name].max())
        assert math.log2(ratio) == pytest.approx(order, abs=0.1)


def test_the_third_remainder_is_of_the_size_of_the_truth():
    """Within a factor of 20 at its tightest entry: a hundredfold remainder fails."""
    Y, R = layer(1, 10, 5, 2, 0.02)
    terms = sl.entrywise.entrywise_bound(Y, R).terms
    moved = (sl.row_projector(Y, 2) - terms["centre C"]).abs()
    assert 0.05 < float((moved / terms["remainder C"]).max()) <= 1


def test_the_margin_of_a_reference_with_leaks():
    """The weakest needed edge is 0.4, the largest entry across 0.2: ε = 0.2."""
    P = np.array([[0.9, 0.4, 0.1], [0.4, 0.8, 0.2], [0.1, 0.2, 0.7]])
    y = np.array([0, 0, 1])
    assert float(sl.entrywise.entrywise_margin(P, y)) == pytest.approx(0.2)
    assert float(sl.entrywise.entrywise_margin(-P, y)) == pytest.approx(0.2)
    for size, right in ((0.0999, True), (0.1001, False)):
        Q = P + size * np.array([[0, -1, 1], [-1, 0, 1], [1, 1, 0]])
        found = sl.clustering.cluster_by_threshold(Q, 0.3)
        assert (sl.clustering.accuracy(y, found) == 1) == right
    leaking = np.array([[0.5, 0.1, 0.3], [0.1, 0.5, 0.3], [0.3, 0.3, 0.5]])
    assert float(sl.entrywise.entrywise_margin(leaking, y)) == pytest.approx(-0.2)
    block = sl.row_projector(np.array([[1.0, 2, 0], [0, 0, 1]]), 2)
    expected = float(sl.connectivity_margin(block, y))
    assert float(sl.entrywise.entrywise_margin(block, y)) == pytest.approx(expected)


def test_the_largest_component_is_not_the_last_that_was_looked_at():
    edges = np.kron(np.eye(5), np.ones((2, 2))) > 0
    edges[1, 2] = edges[2, 1] = True  # four points in one chain, then three pairs
    found = _largest_component(edges, np.ones(10, bool), edges.sum(0))
    assert found.tolist() == [True] * 4 + [False] * 6

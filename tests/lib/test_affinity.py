import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from other_device import other_device

import subspace_lib as sl
from subspace_lib import affinity


def slow(F, G, ranks, unit=True):
    """The definition, one rank at a time."""
    found = np.ones((len(F), len(G)))
    for r in ranks:
        C = np.abs(F[:, :r] @ G[:, :r].T)
        if unit:
            C /= np.outer(*(np.linalg.norm(A[:, :r], axis=1) for A in (F, G)))
        found *= C + (affinity.FLOOR if len(ranks) > 1 else 0)
    return found ** (1 / len(ranks))


@pytest.mark.parametrize("ranks", [(4,), (1, 2, 4), (2, 3)])
@pytest.mark.parametrize("unit", [True, False])
def test_nearest_against_the_slow_way(ranks, unit, monkeypatch):
    monkeypatch.setattr(affinity, "TILE_ENTRIES", 7 * 50)  # several tiles, the last one smaller
    g = np.random.default_rng(1)
    F, G = g.normal(size=(30, 4)), g.normal(size=(50, 4))
    S = slow(F, G, ranks, unit)
    both = torch.from_numpy(F), torch.from_numpy(G)
    values, columns = affinity.nearest(*both, ranks, k=5, unit=unit)
    np.testing.assert_allclose(values, -np.sort(-S, axis=1)[:, :5], rtol=1e-4)
    np.testing.assert_allclose(values, np.take_along_axis(S, columns, 1), rtol=1e-4)


def test_the_graph_against_the_slow_way():
    F = np.random.default_rng(2).normal(size=(40, 6))
    S = slow(F, F, (2, 6))
    np.fill_diagonal(S, -1)
    order = np.argsort(-S, axis=1)
    expected = np.zeros((40, 40))
    for i in range(40):
        for scale in (4, 2, 1):
            mine = order[i, : 8 // scale]
            expected[i, mine] += S[i, mine] ** 3
    graph = affinity.neighbour_graph(torch.from_numpy(F), (2, 6), k=8, power=3, scales=(4, 2, 1))
    np.testing.assert_allclose(graph.toarray(), expected + expected.T, rtol=1e-3)


def test_a_dead_row_is_like_nobody_and_not_a_number_is_nowhere():
    F = torch.eye(3, dtype=torch.float64)[:, :2].repeat(4, 1)
    values, _ = affinity.nearest(F, F, (1, 2), k=3)
    assert np.isfinite(values).all()
    assert (values[2] < 1e-2).all()


def test_ranks_are_a_constant_factor_apart():
    assert affinity.geometric_ranks(5, 5, 10) == (5,)
    assert affinity.geometric_ranks(1, 2, 10) == (1, 2)
    ranks = affinity.geometric_ranks(10, 1000, 10)
    assert len(ranks) == 10
    np.testing.assert_allclose(np.diff(np.log(ranks)), np.log(100) / 9, atol=0.05)


@st.composite
def unions(draw):
    """(V, labels): the row space of a clean union in any order, more points than dimensions."""
    K = draw(st.integers(2, 6))
    g = np.random.default_rng(draw(st.integers(0, 10**6)))
    dims = g.integers(1, 8, K)
    counts = dims + g.integers(1, 20, K)
    blocks = [g.normal(size=(d, n)) for d, n in zip(dims, counts, strict=True)]
    bases = [g.normal(size=(dims.sum() + 3, d)) for d in dims]
    X = np.concatenate([U @ C for U, C in zip(bases, blocks, strict=True)], axis=1)
    order = g.permutation(X.shape[1])
    labels = np.repeat(np.arange(K), counts)[order]
    return sl.row_basis(torch.from_numpy(X[:, order]), int(dims.sum())), labels


@given(unions())
def test_exact_clusters(case):
    V, labels = case
    K = labels.max() + 1
    found = affinity.exact_clusters(V, K, 1e-8)
    assert sl.clustering.accuracy(labels, found) == 1
    assert affinity.exact_clusters(V, K + 1, 1e-8) is None
    if K > 2:
        assert affinity.exact_clusters(V, K - 1, 1e-8) is None


def test_exact_clusters_with_orthogonal_points_and_without_structure():
    X = torch.block_diag(torch.tensor([[1.0, 0, 1, 1], [0, 1, 1, -1]]), torch.ones(1, 3)).double()
    assert affinity.exact_clusters(sl.row_basis(X, 3), 2, 1e-8).tolist() == [0] * 4 + [1] * 3
    # the last meets the first over the others only, and each of these at an obtuse angle
    away = torch.tensor([[1.0, 1, -1, 0], [0, -1, -1, 1]])
    X = torch.block_diag(away, away).double()
    assert affinity.exact_clusters(sl.row_basis(X, 4), 2, 1e-8).tolist() == [0] * 4 + [1] * 4
    lone = torch.block_diag(torch.ones(1, 1), torch.randn(2, 9)).double()
    assert affinity.exact_clusters(sl.row_basis(lone, 3), 2, 1e-8) is None  # a lone point
    noise = torch.randn(3, 20, dtype=torch.float64)
    assert affinity.exact_clusters(sl.row_basis(noise, 3), 2, 1e-8) is None


def test_everything_stays_on_the_device():
    F = torch.randn(30, 4, dtype=torch.float64)
    here = affinity.neighbour_graph(F, (2, 4), k=5)
    with other_device() as device:
        there = affinity.neighbour_graph(F.to(device), (2, 4), k=5)
    assert (here != there).nnz == 0

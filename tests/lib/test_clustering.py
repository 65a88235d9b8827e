import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import subspace_lib as sl
from subspace_lib.clustering import cross_energy


def union(seed, K=3):
    return sl.sample_union(
        ambient_dim=20, n_subspaces=K, subspace_dim=2, points_per_subspace=8, seed=seed
    )


def projector(data):
    return sl.row_projector(data.X, data.rank)


@given(st.integers(0, 10**6))
def test_margins_against_the_slow_way(seed):
    data = union(seed)
    P = projector(data).numpy()
    y = data.labels.numpy()
    inside = np.abs(P)[(y[:, None] == y[None, :])]
    assert sl.clustering.minimum_margin(P, y) == pytest.approx(inside[inside > 1e-12].min())
    margin = float(sl.connectivity_margin(P, y))
    # largest threshold that keeps every cluster together, by bisection over all entries
    works = [
        c
        for c in np.unique(inside)
        if sl.clustering.accuracy(y, sl.clustering.cluster_by_threshold(P, c)) == 1
    ]
    assert not [c for c in works if c >= margin]
    assert (
        sl.clustering.accuracy(y, sl.clustering.cluster_by_threshold(P, margin * (1 - 1e-9))) == 1
    )
    assert margin >= float(sl.clustering.minimum_margin(P, y))


@given(st.integers(0, 10**6), st.floats(0, 0.999))
def test_below_half_the_margin_clusters_survive(seed, share):
    data = union(seed)
    P = projector(data)
    half = float(sl.connectivity_margin(P, data.labels)) / 2
    g = torch.Generator().manual_seed(seed)
    D = (2 * torch.rand(P.shape, generator=g, dtype=P.dtype) - 1) * share * half
    Q = P + torch.triu(D) + torch.triu(D, 1).T
    assert sl.clustering.accuracy(data.labels, sl.clustering.cluster_by_threshold(Q, half)) == 1
    assert sl.clustering.accuracy(data.labels, sl.clustering.single_linkage(Q, 3)) == 1


@given(st.integers(0, 10**6))
def test_half_the_margin_is_sharp(seed):
    """The extremal instance: at η = ε_conn/2 no threshold works."""
    data = union(seed)
    P = projector(data)
    eta = float(sl.connectivity_margin(P, data.labels)) / 2 * (1 + 1e-9)
    inside = data.labels[:, None] == data.labels[None, :]
    Q = torch.where(inside, P.sign() * (P.abs() - eta).clamp(min=0), torch.full_like(P, eta))
    assert float((P - Q).abs().max()) <= eta * (1 + 1e-12)
    for c in [0.0, eta * (1 - 1e-6), *Q.abs().unique().tolist()]:
        assert sl.clustering.accuracy(data.labels, sl.clustering.cluster_by_threshold(Q, c)) < 1


def test_single_points_and_disconnected_blocks():
    assert sl.connectivity_margin(np.eye(2), [0, 1]) == np.inf
    assert sl.connectivity_margin(np.eye(2), [0, 0]) == 0


def test_scores_ignore_names_and_match_scikit_learn():
    y, z = [0, 0, 1, 1, 2], [5, 5, 3, 3, 3]
    assert sl.clustering.accuracy(y, z) == pytest.approx(0.8)
    assert sl.clustering.clustering_scores(y, [2, 2, 0, 0, 1]) == {"acc": 1, "nmi": 1, "ari": 1}
    assert sl.clustering.accuracy(["a", "b"], [1, 1]) == 0.5


def test_batches_and_kinds():
    data = sl.sample_union(
        ambient_dim=20, n_subspaces=2, subspace_dim=2, points_per_subspace=6, trials=3, seed=0
    )
    P = projector(data)
    assert sl.connectivity_margin(P, data.labels).shape == (3,)
    found = sl.clustering.single_linkage(P, 2)
    assert found.shape == (3, 12)
    assert isinstance(found, torch.Tensor)
    assert isinstance(sl.clustering.cluster_by_threshold(P[0].numpy(), 0.01), np.ndarray)


def test_bad_input():
    P = np.eye(3)
    with pytest.raises(ValueError, match="square"):
        sl.clustering.cluster_by_threshold(P[:2], 0.1)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        sl.clustering.minimum_margin(P, [0, 1])
    with pytest.raises(ValueError, match="at most the number of points"):
        sl.clustering.single_linkage(P, 4)
    with pytest.raises(ValueError, match="≥ 0"):
        sl.clustering.cluster_by_threshold(P, -1)


def test_cross_energy_is_what_lies_outside_the_blocks():
    V = sl.row_basis(torch.randn(6, 30, generator=torch.Generator().manual_seed(0)).double(), 6)
    labels = torch.arange(30) // 10
    P = V.mT @ V
    off = labels[:, None] != labels[None, :]
    expected = P[off].square().sum() / P.square().sum()
    torch.testing.assert_close(cross_energy(V, labels), expected)
    data = union(0)
    assert cross_energy(sl.row_basis(data.X, 6), data.labels).abs() < 1e-12

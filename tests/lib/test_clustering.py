import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import subspace_lib as sl
from subspace_lib import clustering
from subspace_lib.clustering import linkage_clusters, spanning_trees


def union(seed, K=3):
    return sl.sample_union(
        ambient_dim=20, n_subspaces=K, subspace_dim=2, points_per_subspace=8, seed=seed
    )


def projector(data):
    return sl.row_projector(data.X, data.rank)


@pytest.mark.slow
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


@pytest.mark.slow
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


def scipy_margin(A, y):
    """Slow: SciPy's minimum tree of the negated block of each cluster."""
    weakest = np.inf
    for k in range(y.max() + 1):
        block = np.triu(A[np.ix_(y == k, y == k)], 1)
        tree = minimum_spanning_tree(csr_matrix(-block))
        if len(block) > 1:
            weakest = min(weakest, -tree.data.max() if tree.nnz == len(block) - 1 else 0)
    return weakest


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0, 0.95))
def test_the_connectivity_margin_is_that_of_scipy(seed, classes, zeros):
    """Clusters of every size, single points and disconnected ones among them."""
    g = np.random.default_rng(seed)
    A = g.uniform(size=(3, 12, 12)) * (g.uniform(size=(3, 12, 12)) > zeros)
    A = np.maximum(A, A.swapaxes(1, 2))
    y = np.unique(g.integers(0, classes, 12), return_inverse=True)[1]
    expected = [scipy_margin(a, y) for a in A]
    np.testing.assert_array_equal(sl.connectivity_margin(A, y), expected)


@given(st.integers(0, 10**5), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_components_are_runs_of_the_spanning_tree(seed, m):
    """For every threshold, ties among the weights included, against SciPy's components."""
    weights = np.random.default_rng(seed).integers(0, 6, size=(3, m, m)) / 5
    weights = np.maximum(weights, weights.swapaxes(1, 2))
    edges, order = (A.numpy() for A in spanning_trees(torch.from_numpy(weights)))
    for w, own, visits in zip(weights, edges, order, strict=True):
        for c in np.unique(w):
            _, expected = connected_components(w > c, directed=False)
            found = np.empty(m, dtype=int)
            found[visits] = np.concatenate([[0], (own <= c).cumsum(0)])
            pairs = found[:, None] == found
            assert np.array_equal(pairs, expected[:, None] == expected)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_a_factor_gives_the_tree_of_its_similarities(seed, rank):
    g = torch.Generator().manual_seed(seed)
    V = torch.randn(2, 3, rank, 14, generator=g, dtype=torch.float64)
    S = (V.mT @ V).abs()
    edges, order = spanning_trees(V, factor=True)
    assert order.shape == (2, 3, 14)
    torch.testing.assert_close(edges, spanning_trees(S)[0])
    for similarity, own in zip(S.flatten(0, 1).numpy(), edges.flatten(0, 1), strict=True):
        top = similarity.max() + 1
        tree = minimum_spanning_tree(csr_matrix(np.triu(top - similarity, 1)))
        assert float(own.sum()) == pytest.approx(top * 13 - tree.sum())


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_linkage_of_a_factor_is_that_of_its_projector(seed, rank, clusters):
    g = torch.Generator().manual_seed(seed)
    V = torch.randn(3, rank, 14, generator=g, dtype=torch.float64)
    fast, slow = linkage_clusters(V, clusters), clustering.single_linkage(V.mT @ V, clusters)
    assert torch.equal(fast, slow)
    for labels in fast:
        values = labels.tolist()
        assert sorted(set(values), key=values.index) == list(range(clusters))


@pytest.mark.parametrize("unit", [1e-300, 1e-17, 1.0, 1e16, 1e300])
def test_linkage_does_not_depend_on_units_nor_stumble_over_equal_edges(unit):
    Q = np.array([[0, 3, 1, 1], [3, 0, 1, 1], [1, 1, 0, 2], [1, 1, 2, 0]]) * unit
    assert clustering.single_linkage(Q, 2).tolist() == [0, 0, 1, 1]
    assert clustering.single_linkage(Q, 3).tolist() == [0, 0, 1, 2]
    ones = np.kron(np.eye(3), np.ones((4, 4))) * unit  # entries exactly 1
    assert clustering.single_linkage(ones, 3).tolist() == np.repeat(range(3), 4).tolist()


def test_single_points_and_disconnected_blocks():
    assert sl.connectivity_margin(np.eye(2), [0, 1]) == np.inf
    assert sl.connectivity_margin(np.eye(2), [0, 0]) == 0


def test_scores_ignore_names_and_match_scikit_learn():
    y, z = [0, 0, 1, 1, 2], [5, 5, 3, 3, 3]
    assert sl.clustering.accuracy(y, z) == pytest.approx(0.8)
    assert sl.clustering.clustering_scores(y, [2, 2, 0, 0, 1]) == {"acc": 1, "nmi": 1, "ari": 1}
    assert sl.clustering.accuracy(["a", "b"], [1, 1]) == 0.5


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_scores_are_those_of_scikit_learn(seed, classes, found):
    g = np.random.default_rng(seed)
    y, z = g.integers(0, classes, 20), g.integers(0, found, 20)
    scores = sl.clustering.clustering_scores(y, z)
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(y, z), abs=1e-12)
    assert scores["ari"] == pytest.approx(adjusted_rand_score(y, z), abs=1e-12)
    assert sl.clustering.clustering_scores(y, y[::-1][::-1] + 7) == {"acc": 1, "nmi": 1, "ari": 1}


def test_a_graph_without_edges_is_one_cluster():
    V = torch.zeros(1, 3, 60, dtype=torch.float64)
    assert (sl.clustering.spectral_clusters(V, 4) == 0).all()


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

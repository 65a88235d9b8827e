"""Values that no other test pins down: each of these lines was changed, and nobody noticed."""

import sys
import time

import numpy as np
import pytest
import scipy.sparse
import torch

import subspace_lib as sl
from subspace_lib import _checks as check
from subspace_lib.affinity import neighbour_graph
from subspace_lib.certificate import Certificate
from subspace_lib.certify.cuts import _weakest, uncut
from subspace_lib.certify.layers import _widest_gap, read_rows
from subspace_lib.clustering import WEAK_LINK, leading_pairs, linkage_clusters
from subspace_lib.diagnostics import _activation
from subspace_lib.entrywise import _entries, _kept
from subspace_lib.networks import Layer
from subspace_lib.probe.hooks import reference_rows
from subspace_lib.probe.record import LayerRecord, _layer_rank, _leading_rows
from subspace_lib.reference import EPS, compare
from subspace_lib.rowspace import factor, rounding_unit, unit_exponent


def orthogonal(n, seed):
    return torch.linalg.qr(
        torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double()
    )[0]


@pytest.mark.parametrize("gram", [False, True])
def test_the_smallest_value_of_a_tall_matrix_keeps_its_digits(gram):
    """At full rank too, where the Gram matrix would have lost half of them."""
    n, s = 12, torch.linspace(1, 0.5, 12, dtype=torch.float64)
    s[-1] = 1e-5
    A = orthogonal(2000, 0)[:, :n] * s @ orthogonal(n, 1)
    torch.testing.assert_close(factor(A, n, gram=gram).s, s, rtol=3e-8, atol=0)


@pytest.mark.parametrize(("p", "q"), [(3, 5), (8, 9)])
def test_rows_beyond_the_rank_are_zero(p, q):
    A = torch.randn(p, 10, generator=torch.Generator().manual_seed(0)).double()
    V = factor(A, q).V
    assert V.shape == (q, 10)
    assert (V[p:] == 0).all()
    torch.testing.assert_close(A @ V.mT @ V, A)


def test_more_neighbours_than_there_are_is_all_of_them():
    F = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    every, most = (neighbour_graph(F, [2, 4], k=k).toarray() for k in (5, 50))
    np.testing.assert_array_equal(most, every)
    np.testing.assert_array_equal(every > 0, ~np.eye(6, dtype=bool))


@pytest.mark.parametrize("form", ["spectral", "fro", "one-sided"])
def test_the_threshold_of_wedin_is_the_error_but_for_rounding(form):
    A = torch.randn(8, 30, generator=torch.Generator().manual_seed(0)).double()
    E = 1e-3 * torch.randn(8, 30, generator=torch.Generator().manual_seed(1)).double()
    cert = sl.wedin_bound(A, A + E, rank=8, form=form)
    error = torch.stack(list(cert.terms.values())).max()
    assert error <= cert.threshold <= error * (1 + 1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_reference_bound_is_its_formula(k):
    """tau/sqrt(1 + tau^2), and with k under the root in the Frobenius norm."""
    Q = orthogonal(20, 2)
    R, noise = (
        Q[:k],
        0.05 * torch.randn(15, 20, generator=torch.Generator().manual_seed(3)).double(),
    )
    Y = torch.randn(15, k, generator=torch.Generator().manual_seed(4)).double() @ R + noise
    for norm, share in (("spectral", 1), ("fro", k)):
        cert = sl.reference_bound(Y, R, norm=norm)
        tau = cert.terms["τ"]
        torch.testing.assert_close(cert.bound, tau / (1 + tau**2 / share).sqrt(), rtol=1e-6, atol=0)
        rest = Y - Y @ R.mT @ R  # by its definition
        U, s, _ = torch.linalg.svd(Y @ R.mT, full_matrices=False)
        F0 = rest.mT @ U / s
        size = torch.linalg.matrix_norm(F0, 2 if norm == "spectral" else "fro")
        torch.testing.assert_close(cert.terms["‖F₀‖"], size, rtol=1e-9, atol=0)


def test_a_batch_is_shown_by_its_median_and_its_ends():
    values = torch.tensor([1.0, 2.0, 4.0])
    cert = Certificate("A bound", "x", values, values / 2, values / 4, {})
    assert "2  [1, 4]" in repr(cert)


@pytest.mark.parametrize("shape", [(3, 40), (40, 12)])
def test_the_rounding_that_is_allowed_for_is_that_of_the_larger_side(shape):
    Y = torch.randn(shape, generator=torch.Generator().manual_seed(4)).double()
    found = compare(Y, sl.row_basis(Y, 2), 2)
    norm = torch.linalg.matrix_norm(Y / found.scale, 2)
    torch.testing.assert_close(
        found.slack, rounding_unit(max(shape), EPS) * norm, rtol=1e-9, atol=0
    )


def test_a_rank_is_counted_above_the_rounding_of_the_larger_side():
    A = torch.zeros(2, 1000, dtype=torch.float64)
    A[0, 0], A[1, 1] = 1, 100 * EPS
    assert sl.projectors.numerical_rank(A) == sl.projectors.numerical_rank(A.mT) == 1
    assert sl.projectors.numerical_rank(A[:, :50]) == 2


def test_labels_may_be_objects_of_one_kind():
    names = np.array(["tea", "milk", "tea"], dtype=object)
    assert sl.clustering.accuracy(names, [1, 0, 1]) == 1
    with pytest.raises(TypeError, match="without missing values"):
        sl.clustering.accuracy(np.array(["tea", None, "tea"], dtype=object), [1, 0, 1])


def test_many_small_matrices_round_as_one_does():
    g = torch.Generator().manual_seed(6)
    WX, Y = (torch.randn(900, 3, 5, generator=g).double() for _ in range(2))
    alone = [sl.bounds.lemma_4_3(A, B, 1, 0.1).gap for A, B in zip(WX[:3], Y[:3], strict=True)]
    together = sl.bounds.lemma_4_3(WX, Y, 1, 0.1).gap[:3]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-14, atol=0)


def test_a_rounding_of_the_entries_is_allowed_for_in_proportion_to_the_layer():
    Y = 300 * torch.randn(3, 40, generator=torch.Generator().manual_seed(4)).double()
    R, eps = sl.row_basis(Y, 2), 2.0**-23
    more = compare(Y, R, 2, eps=eps).slack - compare(Y, R, 2).slack
    torch.testing.assert_close(more, (eps - EPS) / 2 * Y.norm(), rtol=1e-6, atol=0)


def test_a_zero_is_not_negative_and_a_unit_that_is_always_zero_is_dead():
    pre = torch.tensor([[-1.0, 0.0, 2.0, 4.0], [-1.0, 0.0, -2.0, 0.0]], dtype=torch.float64)
    found = _activation(Layer("", pre, pre.clamp(min=0)))
    assert (found["negative_share"], found["dead_units"]) == (3 / 8, 1)
    torch.testing.assert_close(found["energy_removed"], torch.tensor(6 / 26).double())


def test_the_rank_of_a_reference_counts_what_is_above_rounding_of_its_longer_side():
    s = torch.tensor([1, 1, 300 * EPS]).double()
    A = orthogonal(3, 5) * s @ orthogonal(1000, 6)[:3]
    assert reference_rows(A, 2).shape == (2, 1000)
    with pytest.raises(ValueError, match=r"rank must lie in 1\.\.2"):
        reference_rows(A, 3)


def test_a_sketch_gives_as_many_rows_as_are_asked_for():
    Y = torch.randn(50, 300, generator=torch.Generator().manual_seed(7)).double()
    R = sl.row_basis(Y, 4)
    record = LayerRecord("layer", Y[:, :100], R, 20, False, 0)
    record.add(Y, 0, R)
    V, s, _ = _leading_rows(record, 6, 4)
    assert (V.shape, s.shape) == ((6, 300), (50,))


@pytest.mark.parametrize("name", ["W1", "W2"])
def test_a_trial_is_broken_when_one_of_its_matrices_is(name):
    data = sl.sample_union(
        ambient_dim=8, n_subspaces=2, subspace_dim=1, points_per_subspace=6, trials=2, seed=0
    )
    network = sl.FeedForward((8, 6, 8))
    params = dict(network.init(trials=2, seed=0))
    params[name] = params[name].clone()
    params[name][1, 0, 0] = torch.nan
    _, found = sl.diagnostics.diagnose(network, params, data, groups=["containment"])
    for values in found.values():
        assert np.isnan(values).all(0).tolist() == [False, True]


def test_the_unit_of_several_matrices_is_that_of_the_largest_entry():
    A, B = (torch.tensor(x, dtype=torch.float64) for x in ([[2.0**700]], [[2.0**-700], [1.0]]))
    assert unit_exponent(A, B) == unit_exponent(B, A) == unit_exponent(A) == 701
    assert (unit_exponent(torch.stack([A, A]), B) == 701).all()


def test_seconds_of_training_and_measuring_are_those_of_the_clock():
    began = time.perf_counter()
    data = sl.sample_union(
        ambient_dim=8, n_subspaces=2, subspace_dim=1, points_per_subspace=6, seed=0
    )
    measure = sl.diagnostics.Diagnostics(data)
    run = sl.train(sl.FeedForward((8, 6, 8)), data, steps=20, measure=measure, progress=False)
    passed = time.perf_counter() - began
    assert 0 < run.seconds_training < passed
    assert 0 < run.seconds_measuring < passed - run.seconds_training


@pytest.mark.parametrize(
    ("error", "joined"), [(0.1, [[0, 1]]), (0.22, [[0, 1]]), (0.23, []), (0.5, [])]
)
def test_two_parts_are_joined_by_the_least_eigenvalue_that_says_so(error, joined):
    """Σ_{J×J'} Q_ij² (1/D_J + 1/D_J') > 2: with Q_ij = 1/10, 5 + 5 points, 1/20 > error²."""
    V = torch.full((1, 10), 10**-0.5, dtype=torch.float64)
    parts = torch.arange(10) // 5
    found = uncut(V, torch.full((10,), error, dtype=torch.float64), parts, 0.0)
    assert [sorted(J.tolist()) for J in found] == joined


def test_ordered_parts_are_cut_at_their_weak_link():
    """Three parts and two, joined by a hundredth."""
    block = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2))
    weights = block.fill_diagonal_(0) + 0.01 * (block == 0)
    order = torch.arange(5)
    assert _weakest(weights.fill_diagonal_(0), torch.ones(5), order) == 3


def test_a_ratio_below_rounding_is_no_gap():
    s = torch.zeros(12, dtype=torch.float64)
    s[:5] = torch.tensor([1.0, 1.0, 1e-3, 1e-17, 1e-40])
    assert _widest_gap(s.diag(), 1) == 3


def test_an_error_that_is_no_number_of_the_machine_is_rounded_up():
    """√2 · 2⁻¹⁰⁷⁴ between the two smallest positive numbers."""
    least = 2.0**-1074
    clean, step = 2.0**-1060 * torch.eye(2).double(), least * torch.ones(2, 1).double()
    step = torch.cat([step, 0 * step], 1)
    for cert, name in (
        (sl.bounds.lemma_4_1(clean, step, 2, margin=0.1), "‖Z‖"),
        (sl.bounds.lemma_4_3(clean, clean + step, 2, margin=0.1), "‖Y − WX‖"),
    ):
        assert float(cert.terms[name]) == 2 * least


def test_a_layer_as_narrow_as_its_sketch_is_kept_as_it_is():
    Y = torch.randn(20, 30, generator=torch.Generator().manual_seed(8)).double()
    wide, narrow = (LayerRecord("layer", Y, sl.row_basis(Y, 4), q, False, 0) for q in (20, 19))
    assert (wide.exact, narrow.exact) == (True, False)


def test_the_largest_number_is_a_number():
    assert check.non_negative(sys.float_info.max, "noise") == sys.float_info.max


def test_clusters_that_rounding_alone_tells_apart_are_not_read():
    """All entries of Q are 1/6: single linkage cuts somewhere."""
    V = torch.full((1, 6), 6**-0.5, dtype=torch.float64)
    labels = linkage_clusters(V[None], 2)[0].numpy()
    found = read_rows(V, labels, 2, 1e-14)
    assert abs(found.inside - found.across) < 1e-15
    assert not found.holds
    assert not found.broken.any()


@pytest.mark.parametrize("n", [30, 300])
def test_leading_pairs_are_those_of_the_normalised_graph_with_its_weak_link(n):
    """By Lanczos and at once."""
    A = scipy.sparse.random(n, n, 0.1, random_state=0)
    link = WEAK_LINK * (A + A.T).sum() / n
    dense = (A + A.T).toarray() + link / n
    scale = dense.sum(1) ** -0.5
    values, vectors = leading_pairs((A + A.T).tocsr(), 4, np.random.RandomState(0))
    expected = np.linalg.eigvalsh(scale[:, None] * dense * scale)[-4:]
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    np.testing.assert_allclose(abs(vectors[:, -1]), np.sqrt(1 / scale**2 / dense.sum()), rtol=1e-6)


def test_the_tangent_that_is_told_contains_its_rounding():
    Y = torch.randn(15, 40, generator=torch.Generator().manual_seed(9)).double()
    R = sl.row_basis(Y + 0.01 * Y.flip(0), 3)
    slope, rounding = compare(Y, R, 3).tangent
    told = sl.reference_bound(Y, R).terms["τ"]
    torch.testing.assert_close(told - slope, rounding, rtol=0.01, atol=0)


@pytest.mark.parametrize("assign", ["spectral", "threshold"])
def test_as_many_samples_as_clusters_are_clusters_of_one(assign):
    labels = sl.ProjectorClustering(3, assign=assign).fit_predict(np.eye(3))
    assert sorted(labels) == [0, 1, 2]


def test_entry_by_entry_bounds_of_too_many_points_are_refused_before_they_are_made():
    Y = torch.randn(3, 300_000, generator=torch.Generator().manual_seed(10)).double()
    found = compare(Y, sl.row_basis(Y, 2), 2)
    with pytest.raises(ValueError, match="n×n bounds is too large"):
        _entries(found)


def test_a_gram_matrix_has_no_rank_below_its_own_rounding():
    g = torch.Generator().manual_seed(11)
    Y = torch.randn(50, 3, generator=g).double() @ torch.randn(3, 300, generator=g).double()
    R = sl.row_basis(Y, 2)
    record = LayerRecord("layer", Y[:, :100], R, 20, False, 0)
    record.add(Y, 0, R)
    spectrum = _leading_rows(record, 2, 2)[1]
    assert (spectrum > 1e-12 * spectrum[0]).sum() > 3  # rounding
    assert _layer_rank(record, spectrum) == 3


@pytest.mark.parametrize(("off", "refused"), [(0.9e-4, False), (1.5e-4, True)])
def test_rows_are_orthonormal_to_a_ten_thousandth(off, refused):
    Y, R = orthogonal(12, 12)[:5], orthogonal(12, 13)[:2].clone()
    R[0] *= (1 + off) ** 0.5
    if refused:
        with pytest.raises(ValueError, match="must have orthonormal rows"):
            sl.reference_bound(Y, R)
    else:
        assert sl.reference_bound(Y, R).bound.ndim == 0


def test_points_that_lost_their_connection_are_not_kept():
    """The path 0–1–2–3 without 1, which may have an edge across; 4–5 is the other cluster."""
    y = np.array([0, 0, 0, 0, 1, 1])
    certain, wrong = np.zeros((2, 6, 6), dtype=bool)
    for i, j in [(0, 1), (1, 2), (2, 3), (4, 5)]:
        certain[i, j] = certain[j, i] = True
    wrong[1, 4] = wrong[4, 1] = True
    kept = _kept(np.ones(6, dtype=bool), certain, wrong, y)
    assert np.flatnonzero(kept).tolist() == [2, 3, 4, 5]


def test_gaps_of_directions_are_in_the_unit_of_the_data():
    Y = torch.randn(8, 20, generator=torch.Generator().manual_seed(14)).double()
    R, unit = sl.row_basis(Y, 3), 2.0**600
    small, large = (sl.reference.direction_bounds(A, R) for A in (Y, Y * unit))
    torch.testing.assert_close(large.gap / unit, small.gap, rtol=1e-9, atol=0)
    torch.testing.assert_close(large.threshold / unit, small.threshold, rtol=1e-9, atol=0)


def test_a_layer_of_the_size_that_is_kept_anyway_is_kept(monkeypatch):
    Y = torch.randn(20, 30, generator=torch.Generator().manual_seed(8)).double()
    for small, exact in ((600, True), (599, False)):
        monkeypatch.setattr("subspace_lib.probe.record.SMALL", small)
        assert LayerRecord("layer", Y, sl.row_basis(Y, 4), 5, None, 0).exact == exact


def test_the_constant_vector_is_in_a_row_space_up_to_the_rounding_of_its_length():
    n, w = 1000, torch.zeros(1, 1000, dtype=torch.float64)
    w[0, :2] = torch.tensor([1.0, -1.0])
    near, far = (
        torch.ones(1, n, dtype=torch.float64) + size * n**0.5 * w for size in (1e-10, 1e-7)
    )
    assert sl.reference.affine_reference(far, 1).shape == (2, n)
    with pytest.raises(ValueError, match="constant vector already lies"):
        sl.reference.affine_reference(near, 1)

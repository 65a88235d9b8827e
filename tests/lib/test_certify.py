"""Must-links: formulas, kinds, scales, refusals, and what follows for layers."""

import math
import time

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.special import ndtri
from sklearn.datasets import load_digits

import subspace_lib as sl
from subspace_lib.certify.deterministic import entry_bounds
from subspace_lib.certify.gaussian import SHARES, null_bounds
from subspace_lib.certify.layers import _widest_gap
from subspace_lib.certify.noise import Spectrum, extremes, gaussian_values, quantiles

EPS = 2.0**-52
DATA = sl.sample_union(
    ambient_dim=40, n_subspaces=3, subspace_dim=2, points_per_subspace=20, seed=0
)
NOISY = sl.add_noise(DATA, variance=3e-4, seed=1)
X, N, LABELS = NOISY.X, NOISY.noise, DATA.labels
SIGMA = float((3e-4 * DATA.X.square().mean()).sqrt())
NU = float(torch.linalg.matrix_norm(N, 2))
ACROSS = LABELS[:, None] != LABELS
WAYS = {"given": {"noise": SIGMA}, "estimated": {}, "radius": {"radius": NU}}


def test_bounded_noise_entry_by_entry_as_written():
    """The statement pair by pair, from NumPy's own factors."""
    Y, k = X.numpy(), 6
    nu, delta = NU, np.linalg.norm(N.numpy(), axis=0)
    entries, rows = entry_bounds(X, k, torch.tensor(nu).double(), torch.from_numpy(delta), EPS)
    _, s, V = np.linalg.svd(Y)
    s, V, least = s[:k], V[:k], s[k - 1]
    sine = nu / least
    kappa = 0.5 if sine**2 > 0.5 else sine * math.sqrt(1 - sine**2)
    for i, j in [(0, 1), (3, 50), (17, 17), (59, 2)]:
        p, a, beta = {}, {}, {}
        for x in {i, j}:
            p[x], a[x] = np.linalg.norm(V[:, x]), np.linalg.norm(V[:, x] / s)
            beta[x] = min(delta[x] + nu * p[x], nu * math.sqrt(1 - p[x] ** 2), nu)
        alpha = {x: a[x] * least / (least - nu) for x in a}
        phi = {x: beta[x] / (least - nu) for x in a}
        psi = {x: nu * alpha[x] for x in a}
        b = alpha[i] * beta[j] + alpha[j] * beta[i]
        b += kappa * (psi[i] * phi[j] + psi[j] * phi[i]) + psi[i] * psi[j] + phi[i] * phi[j]
        assert float(entries.bound()[i, j]) == pytest.approx(min(b, sine), rel=1e-6)
        assert float(entries.similarity()[i, j]) == pytest.approx(V[:, i] @ V[:, j], abs=1e-12)
        d = math.hypot(phi[i] + kappa * psi[i], psi[i] + kappa * phi[i])
        assert float(rows.length[i]) == pytest.approx(d, rel=1e-6)


def test_gaussian_noise_entry_by_entry_as_written():
    """With Ψ̂ inverted, which the library never does."""
    T, (k, n), level = X[:6].numpy(), (6, 60), 0.1
    entries = null_bounds(X[:6], (SIGMA / 2, SIGMA), level)
    least, most = extremes(k, n - k, SHARES[2] * level / 2)
    low, high = (SIGMA / 2 * least) ** 2, (SIGMA * most) ** 2
    omega, psi = (high - low) / 2, T @ T.T - (high + low) / 2 * np.eye(k)
    first = np.linalg.eigvalsh(psi)[0]
    solved, theta = np.linalg.solve(psi, T), omega / first
    r = math.sqrt(2 * math.log(n * (n - 1) / (SHARES[0] * level)))
    z = -ndtri(SHARES[1] * level / n)
    A = np.linalg.norm(solved, axis=0) / (1 - theta)
    g = A + z * SIGMA / (first - omega)
    wide = np.minimum(*(np.sqrt(x[:, None] ** 2 + y**2) for x, y in ((g, A), (A, g))))
    bound = r * SIGMA * wide + omega * (1 - theta) * np.outer(A, A)
    assert entries.proves
    np.testing.assert_allclose(entries.bound().numpy(), bound, rtol=1e-6)
    np.testing.assert_allclose(entries.similarity().numpy(), T.T @ solved, atol=1e-11)


@pytest.mark.parametrize(("p", "n", "index"), [(5, 12, 1), (12, 5, 5), (8, 8, 3)])
def test_laws_are_those_of_gaussian_matrices(p, n, index):
    """Two samples of 4,000, Kolmogorov–Smirnov: a wrong degree of freedom is seen at once."""
    from scipy.stats import ks_2samp

    G = np.random.default_rng(0).standard_normal((4000, p, n))
    direct = np.linalg.svd(G, compute_uv=False)[:, index - 1]
    assert ks_2samp(direct, gaussian_values(p, n, index, 4000)).pvalue > 1e-4
    for tail in (0.02, 0.002):
        low, high = quantiles(p, n, index, tail)
        assert max((direct < low).mean(), (direct > high).mean()) < tail + 3 * (tail / 4000) ** 0.5


def test_the_level_is_shared_by_all_intervals_and_their_sides(monkeypatch):
    tails = []
    monkeypatch.setattr(Spectrum, "interval", lambda self, i, tail: tails.append(tail) or (0, 9))
    assert Spectrum(np.ones(40), 0.0, (40, 60), 3).disagreement(None, 0.06) == ""
    assert tails == pytest.approx([0.01] * 3)


def test_what_speaks_against_noise_is_said():
    """Of a deviation that was given, or of any."""
    steep = Spectrum(np.geomspace(1, 1e-6, 40), 0.0, (40, 60), 3)
    given = steep.disagreement((9.0, 9.5), 0.06)
    assert given.startswith("not noise of deviation 9 to 9.5 on a matrix of rank 3: s_")
    assert steep.disagreement(None, 0.06).startswith("not white noise on a matrix of rank 3: s_")


def test_quantiles_are_the_outermost_draws_and_a_little_more():
    drawn, (low, high) = gaussian_values(5, 12, 2, 399), quantiles(5, 12, 2, 0.01)
    assert 1 - 1e-8 < low / drawn[0] < 1 < high / drawn[-1] < 1 + 1e-8


def test_small_tails_fall_back_on_concentration():
    exact, sure = extremes(4, 30, 1e-3), extremes(4, 30, 1e-9)
    assert sure[0] < exact[0] < math.sqrt(30) < exact[1] < sure[1]
    with pytest.raises(ValueError, match="larger level"):
        quantiles(4, 30, 1, 1e-9)


def test_the_interval_holds_the_deviation():
    """400 matrices of rank 3; a tail of 5 % on either side."""
    random, missed = np.random.default_rng(3), np.zeros(2)
    A = random.standard_normal((15, 3)) @ random.standard_normal((3, 40))
    for _ in range(400):
        s = np.linalg.svd(A + 0.3 * random.standard_normal((15, 40)), compute_uv=False)
        low, high = Spectrum(s, 0.0, (15, 40), 3).interval(6, 0.05)
        missed += [low > 0.3, high < 0.3]
        assert high < 3 * low
    assert (missed < 400 * 0.05 + 5 * math.sqrt(400 * 0.05)).all()


def test_which_singular_values_are_asked():
    """The 2k-th, then the first beyond the rank, and after half and nine tenths of the others."""
    assert Spectrum(np.ones(40), 0.0, (40, 60), 3).indices == [6, 4, 22, 36]
    assert Spectrum(np.ones(20), 0.0, (20, 20), 4).indices == [8, 5, 10, 14]
    assert Spectrum(np.ones(6), 0.0, (6, 9), 3).indices == [6, 4, 5]
    assert Spectrum(np.ones(3), 0.0, (3, 9), 3).indices == []


@pytest.mark.parametrize("way", WAYS)
def test_clusters_from_a_noisy_matrix_alone(way):
    found = sl.must_links(X, 6, n_clusters=3, **WAYS[way])
    assert found.reached
    assert found.parts == 3
    assert not found.refused
    assert sl.clustering.accuracy(LABELS, found.labels) == 1
    assert found.links.dtype == torch.bool
    assert torch.equal(found.links, found.links.mT)
    assert not found.links.diagonal().any()
    assert not found.links[ACROSS].any()
    assert found.links.sum() > 60
    assert found.level == (0 if way == "radius" else 0.05)
    assert (found.deviation is None) == (way == "radius")
    assert "3 parts of 3 clusters" in repr(found)


def test_the_kind_of_the_input_comes_back():
    tensors, arrays = (sl.must_links(Y, 6, noise=SIGMA) for Y in (X, X.numpy()))
    assert isinstance(arrays.links, np.ndarray)
    assert isinstance(arrays.components, np.ndarray)
    assert (arrays.links == tensors.links.numpy()).all()
    assert arrays.reached is False  # no number of clusters was given
    assert arrays.labels is None


@pytest.mark.parametrize("exponent", [-300, -100, 100, 300])
@pytest.mark.parametrize("way", WAYS)
def test_units_do_not_matter(way, exponent):
    unit = 10.0**exponent
    options = {name: value * unit for name, value in WAYS[way].items()}
    scaled, plain = sl.must_links(X * unit, 6, **options), sl.must_links(X, 6, **WAYS[way])
    assert (scaled.links != plain.links).sum() <= 2  # 10^e is no power of two
    if way != "radius":
        assert np.allclose(np.array(scaled.deviation) / unit, plain.deviation, rtol=1e-9, atol=0)


@pytest.mark.parametrize("variance", [0, 1e-34, 1e-31, 1e-28, 1e-20])
def test_noise_of_the_size_of_rounding_errors(variance):
    noisy = sl.add_noise(DATA, variance=variance, seed=2)
    sigma = float((variance * DATA.X.square().mean()).sqrt())
    nu = float(torch.linalg.matrix_norm(noisy.noise, 2))
    for options in ({"noise": sigma}, {}, {"radius": nu}):
        found = sl.must_links(noisy.X, 6, n_clusters=3, **options)
        assert found.reached
        assert not found.links[ACROSS].any()


def test_single_precision_is_not_taken_at_its_word():
    """X* computed in float32 has rank 6 to seven digits only: so has the bound."""
    single = DATA.X.float()
    fine, _ = entry_bounds(single.double(), 6, torch.zeros(()).double(), None, EPS)
    coarse, _ = entry_bounds(single.double(), 6, torch.zeros(()).double(), None, 2.0**-23)
    error = (coarse.similarity() - sl.row_projector(DATA.X, 6)).abs()
    assert (error > fine.bound()).any()
    assert (error <= coarse.bound()).all()
    found = sl.must_links(single, 6, n_clusters=3, radius=0.0)
    assert found.reached


def test_nothing_follows_from_nothing():
    random = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 60)))
    for Y in (torch.zeros(20, 60).double(), random):
        for options in ({"noise": 1.0}, {}, {"radius": 20.0}, {"radius": 1.0}):
            found = sl.must_links(Y, 3, **options)
            assert found.parts == 60
            assert not found.links.any()


def test_more_rank_than_there_is_costs_links_not_truth():
    found = [sl.must_links(X, k, noise=SIGMA) for k in (6, 7, 9)]
    assert all(not f.links[ACROSS].any() for f in found)
    assert found[0].links.sum() > found[1].links.sum()


def test_a_bound_on_the_covariance_is_enough_and_costs_links():
    counts = []
    for low in (1, 0.5, 0):
        found = sl.must_links(X, 6, noise=(low * SIGMA, SIGMA))
        assert not found.links[ACROSS].any()
        counts.append(int(found.links.sum()))
    assert counts[0] >= counts[1] >= counts[2] > 0


def test_a_second_batch_or_a_basis_shows_the_directions():
    other = DATA.X + SIGMA * torch.from_numpy(np.random.default_rng(5).standard_normal((40, 60)))
    basis = torch.linalg.svd(other, full_matrices=False).U[:, :6]
    batch, same = (sl.must_links(X, 6, noise=SIGMA, source=s) for s in (other, basis))
    assert torch.equal(batch.links, same.links)
    assert not batch.links[ACROSS].any()
    assert batch.links.sum() > sl.must_links(X, 6, noise=SIGMA).links.sum()


def test_as_many_rows_as_rank_need_no_source():
    found = sl.must_links(DATA.bases.mT @ X, 6, noise=SIGMA, n_clusters=3)
    assert found.reached
    assert not found.links[ACROSS].any()


def test_splits_are_drawn_by_the_seed():
    one, again, other = (sl.must_links(X, 6, noise=SIGMA, seed=s).links for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_raw_images_are_refused():
    """Digits: the spectrum decays, no index agrees with another about σ."""
    digits = load_digits()
    Y = digits.data[np.isin(digits.target, (3, 8))].T
    clean = sl.from_matrix(Y, np.zeros(Y.shape[1]), 6)
    rms = float(clean.noise.square().mean().sqrt())
    for options in ({}, {"noise": rms}, {"noise": rms / 2}):
        found = sl.must_links(Y, 6, n_clusters=2, **options)
        assert "rank 6" in found.refused
        assert not found.links.any()
        assert "refused" in repr(found)
    assert sl.certify.certified_labels(Y, 6, 2) is None


def test_a_radius_below_the_next_singular_value_is_refused():
    """‖N‖ ≥ s_{k+1}(Y): a rank or a radius that is too small shows itself."""
    for rank, radius in ((5, NU), (6, NU / 4)):
        found = sl.must_links(X, rank, radius=radius)
        assert "times the radius" in found.refused
        assert not found.links.any()


def test_fewer_parts_than_clusters_contradict_what_was_said():
    found = sl.must_links(np.array([[1.0, 2.0, 1.0, 1.0]]), 1, radius=1e-3, n_clusters=2)
    assert "1 parts for 2 clusters" in found.refused
    assert not found.links.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.1, "radius": 0.1}, "radius stands alone"),
        ({"noise": -1.0}, "≥ 0"),
        ({"noise": (2.0, 1.0)}, "must rise"),
        ({"noise": (1.0, 2.0, 3.0)}, "3 values"),
        ({"radius": math.nan}, "≥ 0"),
        ({"radius": (0.1, np.ones(5))}, "60 finite numbers"),
        ({"radius": (0.1,)}, "1 values"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"n_clusters": 0}, "at least 1"),
        ({"splits": 0}, "at least 1"),
        ({"source": torch.ones(40, 3).double()}, "source must be"),
        ({"rank": 41}, "1..40"),
        ({"rank": 30, "noise": 1.0}, "60 in all"),
        ({"rank": 40}, "noise=σ"),
    ],
)
def test_bad_input_says_what_to_do(options, message):
    options = {"rank": 6} | options
    with pytest.raises(ValueError, match=message):
        sl.must_links(X, **options)


def test_other_kinds_of_input_are_refused():
    with pytest.raises(ValueError, match="one matrix"):
        sl.must_links(X[None], 6)
    with pytest.raises(TypeError, match="real floating-point"):
        sl.must_links(X.int(), 6)
    with pytest.raises(ValueError, match="finite"):
        sl.must_links(torch.full((4, 8), math.nan), 1)


def test_links_stay_right_whatever_a_layer_does_with_the_data():
    labels = sl.certify.certified_labels(X, 6, 3)
    random = np.random.default_rng(1)
    W = torch.from_numpy(random.standard_normal((30, 40)))
    good, bad = (
        sl.certify.read_layer(W @ X, labels),
        sl.certify.read_layer(torch.relu(W @ X), labels, 2),
    )
    assert good.holds
    assert good.rank == 6
    assert good.kept == 3
    assert good.across < good.inside
    Q = sl.row_projector(W @ X, 6)
    for threshold, same in ((good.across, True), (good.inside, False)):
        found = sl.clustering.cluster_by_threshold(Q, threshold + 1e-12)
        assert (sl.clustering.accuracy(labels, found) == 1) == same
    assert not bad.holds
    assert bad.kept < 3
    arrays = sl.certify.read_layer((W @ X).numpy(), labels.numpy(), 6)
    assert isinstance(arrays.found, np.ndarray)
    with pytest.raises(ValueError, match="nothing was certified"):
        sl.certify.read_layer(X, None)
    with pytest.raises(ValueError, match="one matrix"):
        sl.certify.read_layer(X[None], labels)
    with pytest.raises(ValueError, match="number of points"):
        sl.certify.read_layer(X, labels, n_clusters=61)


def test_a_layer_that_breaks_a_part_broke_a_cluster():
    parts = torch.arange(60) // 10  # two parts a cluster
    kept = sl.certify.read_layer(X, parts, 6, n_clusters=3)
    assert not kept.holds
    assert kept.kept == 6
    shuffled = sl.certify.read_layer(X, parts[torch.randperm(60)], 6, n_clusters=3)
    assert shuffled.broken.any()


def test_whitened_layers_have_white_noise():
    random = np.random.default_rng(2)
    W = random.standard_normal((20, 40)) * np.geomspace(1, 0.05, 20)[:, None]
    rows = sl.certify.whiten(W, W)
    np.testing.assert_allclose(rows @ rows.T, np.eye(20), atol=1e-9)
    np.testing.assert_allclose(sl.certify.whiten(W @ X.numpy(), W), rows @ X.numpy(), atol=1e-9)
    assert sl.certify.whiten(np.diag([1.0, 1e-4]) @ X[:2].numpy(), np.diag([1.0, 1e-4])).shape == (
        1,
        60,
    )
    found = sl.must_links(sl.certify.whiten(W @ X.numpy(), W), 6, noise=SIGMA)
    assert found.links.any()
    assert not (found.links & ACROSS.numpy()).any()
    assert sl.must_links(W @ X.numpy(), 6, noise=SIGMA).refused  # what is not white is seen
    with pytest.raises(ValueError, match="rows of Y"):
        sl.certify.whiten(W[:3], W)


def test_the_estimator_certifies_what_it_was_fitted_to():
    model = sl.ProjectorClustering(3, rank=6).fit(X.T.numpy())
    found = model.certify(SIGMA)
    assert found.reached
    assert (found.links == sl.must_links(X, 6, noise=SIGMA, n_clusters=3).links.numpy()).all()
    assert model.certify(rank=6, radius=(NU, N.norm(dim=0))).reached
    with pytest.raises(ValueError, match="rank must be given"):
        sl.ProjectorClustering(3).fit(X.T.numpy()).certify(SIGMA)


def test_the_probe_tells_how_many_certified_parts_a_layer_keeps():
    certified = sl.must_links(X, 6, noise=SIGMA, n_clusters=3)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(40, 30, bias=False), torch.nn.Linear(30, 1)
    ).double()
    for given in (certified, LABELS):
        with sl.LayerProbe(model, rank=6, reference=DATA.X, certified=given) as probe:
            model(X.T)
        whole, broken = (row["certified_parts"] for row in probe.table())
        assert whole == "3 of 3"
        assert broken != "3 of 3"
    with pytest.raises(ValueError, match="pass n_clusters"):
        sl.LayerProbe(model, rank=6, reference=DATA.X, certified=sl.must_links(X, 6))


@pytest.mark.slow
def test_many_points_take_seconds_and_sparse_links():
    data = sl.sample_union(
        ambient_dim=200, n_subspaces=5, subspace_dim=4, points_per_subspace=1000, seed=0
    )
    noisy = sl.add_noise(data, variance=1e-3, seed=1)
    sl.must_links(noisy.X, 20)  # draws the laws
    start = time.perf_counter()
    found = sl.must_links(noisy.X, 20, n_clusters=5)
    seconds = time.perf_counter() - start
    assert scipy.sparse.issparse(found.links)
    links = found.links.tocoo()
    assert found.reached
    assert (data.labels[links.row] == data.labels[links.col]).all()
    assert (found.links != found.links.T).nnz == 0
    assert seconds < 60  # about five on one core


def test_sparse_links_are_the_dense_ones(monkeypatch):
    import subspace_lib.certify.entries as entries
    import subspace_lib.certify.links as links

    for options in WAYS.values():
        dense = sl.must_links(X, 6, **options)
        monkeypatch.setattr(links, "DENSE", 10)
        monkeypatch.setattr(entries, "ENTRIES", 600)  # ten rows a tile
        sparse = sl.must_links(X, 6, **options)
        monkeypatch.undo()
        assert (sparse.links.toarray() == dense.links.numpy()).all()
        assert torch.equal(sparse.components, dense.components)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6])
def test_the_widest_gap_does_not_depend_on_the_scale(scale):
    """Ninetyfold to the third, from there down to nothing: that is the widest, in any units."""
    s = torch.tensor([1, 0.9, 0.01, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert _widest_gap(scale * torch.diag(s), 2) == 3

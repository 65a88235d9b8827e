"""The paper's lemmas, theorem and depth corollary: true, tight where they can be, breakable."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import subspace_lib as sl
from subspace_lib.bounds import chain_verdict, truncate

F64 = torch.float64
SIZES = {"ambient_dim": 20, "n_subspaces": 2, "subspace_dim": 2, "points_per_subspace": 15}


def gaussian(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def layer(variance, *, trials=3, seed=0, width=12, sigma=torch.relu, condition=1.0):
    """Data, noisy data, W with condition number ``condition`` on the signal's space, Y = σ(WX)."""
    data = sl.sample_union(**SIZES, trials=trials, seed=seed)
    noisy = sl.add_noise(data, variance, seed=seed + 1)
    W = gaussian(trials, width, 20, seed=seed + 2)
    u = data.bases[..., :1]  # one signal direction, damped by the condition number
    W = W - (1 - 1 / condition) * (W @ u) @ u.mT
    return data, noisy, W, sigma(W @ noisy.X)


def all_certificates(data, noisy, W, Y, margin):
    """(certificate, the distance it bounds, what it promises) for every statement of the chain."""
    S, Z, X, r = data.clean, noisy.noise, noisy.X, data.rank
    distance = sl.projection_distance
    yield sl.bounds.lemma_4_1(S, Z, r, margin), distance(S, X, r, "fro"), margin / 8
    yield sl.bounds.lemma_4_2(S, Z, W, r, margin), distance(X, W @ X, r, "fro"), margin / 4
    yield sl.bounds.lemma_4_3(W @ X, Y, r, margin), distance(W @ X, Y, r, "fro"), margin / 8
    for form in ("printed", "links"):
        cert = sl.bounds.theorem_3_1(S, Z, W, Y, r, margin, form)
        yield cert, distance(S, Y, r, "fro"), margin / 2
    spectral = distance(S, Y, r, "spectral")
    yield sl.bounds.theorem_3_1(S, Z, W, Y, r, margin, "two-links"), spectral, margin / 2
    for form in ("links", "sum"):
        yield sl.bounds.depth_corollary(S, Z, [(W, Y)], r, margin, form), spectral, margin / 2


@given(
    log_variance=st.floats(-36, 0),
    log_margin=st.floats(-9, 0),
    log_condition=st.floats(0, 14),
    slope=st.sampled_from([0.0, 1 - 1e-9, 1 - 1e-6, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_what_holds_is_true_down_to_rounding(log_variance, log_margin, log_condition, slope, seed):
    """Relative noise from 1e-36 to 1, layers that nearly lose a direction, margins down to 1e-9."""

    def sigma(A):
        return torch.where(A > 0, A, slope * A)

    case = layer(10**log_variance, seed=seed, sigma=sigma, condition=10**log_condition)
    margin = torch.tensor(10**log_margin, dtype=F64)
    for cert, truth, promise in all_certificates(*case, margin):
        assert (truth <= cert.bound).all(), cert.statement
        assert (truth[cert.holds] < promise).all(), cert.statement


def test_the_certificates_are_not_vacuous():
    """The same loop must certify something at small noise, or the test above tests nothing."""
    case = layer(1e-24, sigma=lambda A: A)
    for cert, *_ in all_certificates(*case, torch.tensor(1e-6, dtype=F64)):
        assert cert.holds.all(), repr(cert)


def test_without_the_allowance_rounding_would_be_certified():
    """Negative control: with the gaps and errors as computed, 1e-16 noise is certified falsely."""
    data, noisy, W, Y = layer(0.0, trials=1, sigma=lambda A: A)
    S, X = data.clean, noisy.X
    gaps = torch.stack(
        [
            sl.bounds.spectral_gap(S, X, 4),
            sl.bounds.spectral_gap(W @ S, W @ X, 4),
            sl.bounds.spectral_gap(Y, W @ X, 4),
        ]
    )
    margin = torch.tensor(1e-16, dtype=F64)
    naive = chain_verdict(gaps, torch.zeros_like(gaps) + 1e-300, 4, margin, "links")
    assert naive.holds.all()
    assert sl.projection_distance(S, Y, 4) > margin / 2
    assert not sl.bounds.theorem_3_1(S, noisy.noise, W, Y, 4, margin, "links").holds.any()


@pytest.mark.parametrize("variance", [1e-20, 1e-14, 1e-8, 1e-2])
def test_the_theorem_is_its_lemmas(variance):
    data, noisy, W, Y = layer(variance, sigma=lambda A: A + 1e-9 * A.abs())
    S, Z, r = data.clean, noisy.noise, data.rank
    for margin in (1e-6, 1e-3, 0.1):
        one, two = sl.bounds.lemma_4_1(S, Z, r, margin), sl.bounds.lemma_4_2(S, Z, W, r, margin)
        three = sl.bounds.lemma_4_3(W @ noisy.X, Y, r, margin)
        whole = sl.bounds.theorem_3_1(S, Z, W, Y, r, margin, "links")
        assert (whole.holds == (one.holds & two.holds & three.holds)).all()
        assert torch.allclose(whole.bound, one.bound + two.bound + three.bound, rtol=1e-3)
        printed = sl.bounds.theorem_3_1(S, Z, W, Y, r, margin, "printed")
        pair = sl.bounds.theorem_3_1(S, Z, W, Y, r, margin, "two-links")
        assert (whole.holds | ~printed.holds).all()  # printed ⇒ link by link ⇒ two links
        assert (pair.holds | ~whole.holds).all()


def test_batches_are_trials():
    data, noisy, W, Y = layer(1e-6)
    margin = sl.connectivity_margin(sl.row_projector(data.clean, 4), data.labels)
    for trial in range(3):
        one = all_certificates(*layer_of(trial, data, noisy, W, Y), margin[trial])
        for (whole, *_), (single, *_) in zip(
            all_certificates(data, noisy, W, Y, margin), one, strict=True
        ):
            assert torch.allclose(whole.gap[trial], single.gap, rtol=1e-6)
            assert torch.allclose(whole.threshold[trial], single.threshold, rtol=1e-6)
            assert whole.verdict[trial] == single.verdict


def layer_of(trial, data, noisy, W, Y):
    single = sl.sample_union(**SIZES, trials=[trial], seed=0)
    loud = sl.add_noise(single, noisy.noise_variance, seed=1)
    single = type(single)(
        single.X[0], single.clean[0], single.labels, single.bases[0], single.coefficients[0], (2, 2)
    )
    loud = type(loud)(
        loud.X[0], loud.clean[0], loud.labels, loud.bases[0], loud.coefficients[0], (2, 2)
    )
    return single, loud, W[trial], Y[trial]


def deep(variance, depth, sigma, seed=0):
    data = sl.sample_union(**SIZES, trials=3, seed=seed)
    noisy = sl.add_noise(data, variance, seed=seed + 1)
    layers, Y = [], noisy.X
    for level in range(depth):
        W = gaussian(3, 16, Y.shape[-2], seed=seed + 2 + level) / Y.shape[-2] ** 0.5
        Y = sigma(W @ Y)
        layers.append((W, Y))
    return data, noisy, layers


@given(
    depth=st.integers(1, 4),
    log_variance=st.floats(-30, -1),
    bend=st.sampled_from([0.0, 1e-8, 1e-4, 0.05]),
    seed=st.integers(0, 10**6),
)
def test_depth_is_never_violated(depth, log_variance, bend, seed):
    data, noisy, layers = deep(10**log_variance, depth, lambda A: A + bend * A.abs(), seed)
    for norm in ("spectral", "max"):
        truth = sl.projection_distance(data.clean, layers[-1][1], 4, norm)
        for margin in (1e-5, 1e-2):
            links = sl.bounds.depth_corollary(data.clean, noisy.noise, layers, 4, margin)
            total = sl.bounds.depth_corollary(data.clean, noisy.noise, layers, 4, margin, "sum")
            assert (truth <= links.bound).all()
            assert (truth[total.holds] < margin / 2).all()
            assert (total.holds | ~links.holds).all()
            assert torch.equal(total.holds, total.bound < margin / 2)


def test_depth_certifies_linear_layers_and_not_relu():
    for sigma, expected in ((lambda A: A, True), (torch.relu, False)):
        data, noisy, layers = deep(1e-16, 3, sigma)
        cert = sl.bounds.depth_corollary(data.clean, noisy.noise, layers, 4, 0.01)
        assert cert.holds.tolist() == [expected] * 3
        assert len(cert.terms) == 2 * 2 * 3


def turned(theta):
    """One row turned by θ by the noise and by θ again by the layer, each as far as Wedin allows."""
    c, s = math.cos(theta), math.sin(theta)
    clean = np.array([[1.0, 0.0], [0, 0]])
    X = np.array([[c * c, c * s], [0, 0]])
    Y = np.array([[math.cos(2 * theta), math.sin(2 * theta)], [0, 0]])
    return clean, X - clean, [(np.eye(2), Y)]


def test_depth_is_tight_for_one_layer():
    clean, noise, layers = turned(1e-3)
    truth = float(sl.projection_distance(clean, layers[0][1], 1, "spectral"))
    cert = sl.bounds.depth_corollary(clean, noise, layers, 1, 1.0)
    assert 0.99 < truth / float(cert.bound) <= 1


def test_negative_control_half_the_constant_is_false():
    """With 2L/ε in place of 4L/ε the statement is violated by the tight instance."""
    clean, noise, layers = turned(1e-3)
    error_over_gap = math.sin(1e-3)
    margin = 2 * error_over_gap * 1.001  # gap > (2L/ε) · error holds, barely
    assert 2 / margin * error_over_gap < 1
    assert sl.projection_distance(clean, layers[0][1], 1) > margin / 2
    assert not sl.bounds.depth_corollary(clean, noise, layers, 1, margin).holds


def test_truncation_is_the_nearest_of_its_rank():
    Y = gaussian(2, 6, 9, seed=0)
    s = torch.linalg.svdvals(Y)
    best = truncate(Y, 3)
    assert torch.allclose(torch.linalg.matrix_norm(Y - best, 2), s[..., 3])
    assert sl.projectors.numerical_rank(best).tolist() == [3, 3]
    assert torch.allclose(sl.row_projector(best, 3), sl.row_projector(Y, 3))


def test_a_layer_narrower_than_the_rank_is_vacuous():
    data, noisy, W, Y = layer(0.0, width=3)
    cert = sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, 0.1, "links")
    assert cert.verdict == ["no gap"] * 3
    assert torch.isinf(cert.bound).all()
    deep_cert = sl.bounds.depth_corollary(data.clean, noisy.noise, [(W, Y)], 4, 0.1)
    assert deep_cert.verdict == ["no gap"] * 3


def test_arrays_are_accepted():
    data, noisy, W, Y = layer(1e-20, trials=1, sigma=lambda A: A)
    S, Z, V = (A.numpy() for A in (data.clean, noisy.noise, W))
    assert sl.bounds.theorem_3_1(S, Z, V, Y.numpy(), 4, np.array([1e-3]), "links").holds.all()


def test_bad_input():
    data, noisy, W, Y = layer(0.1)
    S, Z = data.clean, noisy.noise
    with pytest.raises(ValueError, match="same number of columns"):
        sl.bounds.lemma_4_1(S, Z[..., :5], 4, 0.1)
    with pytest.raises(ValueError, match="margin must be positive"):
        sl.bounds.lemma_4_1(S, Z, 4, 0.0)
    with pytest.raises(ValueError, match=r"W must be \(p, 20\)"):
        sl.bounds.lemma_4_2(S, Z, W.mT, 4, 0.1)
    with pytest.raises(ValueError, match="same shape"):
        sl.bounds.lemma_4_3(W @ S, Y[..., :3, :], 4, 0.1)
    with pytest.raises(ValueError, match="layers is empty"):
        sl.bounds.depth_corollary(S, Z, [], 4, 0.1)
    with pytest.raises(ValueError, match=r"W_2 must be \(12, 12\)"):
        sl.bounds.depth_corollary(S, Z, [(W, Y), (W, Y)], 4, 0.1)
    with pytest.raises(ValueError, match="'links', 'sum'"):
        sl.bounds.depth_corollary(S, Z, [(W, Y)], 4, 0.1, "union")
    with pytest.raises(ValueError, match="rank must lie in"):
        sl.bounds.lemma_4_1(S, Z, 21, 0.1)
    with pytest.raises(ValueError, match="finite"):
        sl.bounds.lemma_4_1(S, Z / 0, 4, 0.1)


def tight(ratio):
    """Just below one: a doubled bound, a halved one and ∞ all fail."""
    return 0.99 < float(ratio) <= 1


@pytest.mark.parametrize("theta", [1e-3, 0.1, 0.3])
def test_the_bounds_of_the_lemmas_are_attained(theta):
    """One row, turned as far as Wedin allows: by the noise, by a layer, by the activation."""
    A, X = (
        np.diag([1.0, 0.0]),
        math.cos(theta) * np.array([[math.cos(theta), math.sin(theta)], [0, 0]]),
    )
    moved = math.sqrt(2) * math.sin(theta)  # ‖P − P'‖_F
    assert tight(moved / sl.bounds.lemma_4_1(A, X - A, 1, 0.1).bound)
    assert tight(moved / sl.bounds.lemma_4_3(X, A, 1, 0.1).bound)
    two = sl.bounds.lemma_4_2(A, X - A, np.eye(2), 1, 0.1)
    assert tight(2 * moved / two.bound)  # its two links are walked here and back
    for form, links in (("links", 3), ("printed", 3), ("two-links", 1 / math.sqrt(2))):
        cert = sl.bounds.theorem_3_1(A, X - A, np.eye(2), X, 1, 0.1, form)
        assert tight(links * moved / cert.bound)
    assert tight(
        math.sin(theta) / sl.bounds.depth_corollary(A, X - A, [(np.eye(2), X)], 1, 1).bound
    )


def test_the_thresholds_of_the_lemmas_are_the_papers():
    """κ = √(2⁷r)/ε times the error, each term with its rounding only."""
    A, X = np.diag([1.0, 0.0]), np.array([[1.0, 1e-3], [0, 0]])
    for cert in (
        sl.bounds.lemma_4_1(A, X - A, 1, 0.1),
        sl.bounds.lemma_4_2(A, X - A, np.eye(2), 1, 0.1),
        sl.bounds.lemma_4_3(A, X, 1, 0.1),
    ):
        assert float(cert.threshold) == pytest.approx(128**0.5 / 0.1 * 1e-3, rel=1e-6)
    total = sl.bounds.depth_corollary(A, X - A, [(np.eye(2), X)], 1, 0.1)
    assert float(total.threshold) == pytest.approx(4 / 0.1 * 1e-3, rel=1e-6)


def damped(dust, seed=0):
    """Clean data of rank 2 but for ``dust``, and a layer that damps the second direction."""
    left, right = (torch.linalg.qr(gaussian(n, n, seed=seed + n)).Q for n in (20, 30))
    S = left[:, :2] * torch.tensor([2.0, 1.0], dtype=F64) @ right[:2]
    S = S + dust * gaussian(20, 30, seed=seed)
    u = left[:, 1:2]
    W = gaussian(8, 20, seed=seed + 3)
    return S, W - (1 - 1e-5) * (W @ u) @ u.mT


@pytest.mark.parametrize("dust", [1e-6, "float32"])
def test_what_the_clean_matrix_has_beyond_its_rank_is_paid_for(dust):
    """Without Z and without bend every error is zero, and the layer turns the row space."""
    S, W = damped(0.0 if dust == "float32" else dust)
    S = S.float().double() if dust == "float32" else S
    Y, Z = W @ S, torch.zeros_like(S)
    truth = float(sl.projection_distance(S, Y, 2, "spectral"))
    assert truth > 1e-3
    for form in ("printed", "links", "two-links"):
        cert = sl.bounds.theorem_3_1(S, Z, W, Y, 2, 2e-3, form)
        assert truth <= float(cert.bound)
        assert not cert.holds
    assert truth <= float(sl.bounds.lemma_4_2(S, Z, W, 2, 2e-3).bound)
    assert truth <= float(sl.bounds.depth_corollary(S, Z, [(W, Y)], 2, 2e-3).bound)


def test_a_product_that_underflows_is_not_trusted():
    """W X* is (2, 1) times the smallest number, and should have been (2.4, 1.4)."""
    S = 2.0**-500 * torch.tensor([[2.4, 1.4]], dtype=F64)
    W, Z = torch.tensor([[2.0**-574]], dtype=F64), torch.zeros(1, 2, dtype=F64)
    Y = W @ S
    truth = float(sl.projection_distance(S * 2.0**500, torch.tensor([[2.0, 1.0]], dtype=F64), 1))
    assert truth > 0.05
    assert (Y * 2.0**1000 * 2.0**74).tolist() == [[2.0, 1.0]]
    certificates = [
        sl.bounds.theorem_3_1(S, Z, W, Y, 1, 0.05, form)
        for form in ("printed", "links", "two-links")
    ]
    certificates += [sl.bounds.depth_corollary(S, Z, [(W, Y)], 1, 0.05)]
    for cert in certificates:
        assert truth <= float(cert.bound)
        assert not cert.holds


@pytest.mark.parametrize("exponent", [-990, -600, 600, 990])
def test_units_of_data_and_weights_change_no_bound(exponent):
    data, noisy, W, Y = layer(1e-12, trials=1, sigma=lambda A: A + 1e-9 * A.abs())
    S, Z, unit = data.clean, noisy.noise, 2.0**exponent
    for form in ("links", "two-links"):
        one = sl.bounds.theorem_3_1(S, Z, W, Y, 4, 0.1, form)
        loud = sl.bounds.theorem_3_1(unit * S, unit * Z, W, unit * Y, 4, 0.1, form)
        both = sl.bounds.theorem_3_1(unit * S, unit * Z, W / unit, Y, 4, 0.1, form)
        for other in (loud, both):
            torch.testing.assert_close(other.bound, one.bound, rtol=1e-4, atol=0)
            assert other.verdict == one.verdict == ["certifies"]
    one, other = (sl.wedin_bound(c * S, c * noisy.X, 4) for c in (1.0, unit))
    torch.testing.assert_close(other.bound, one.bound, rtol=1e-4, atol=0)
    assert other.verdict == one.verdict


def test_precisions_may_differ_and_the_coarser_one_counts():
    data, noisy, W, Y = layer(1e-12, trials=1, sigma=lambda A: A)
    S, Z = data.clean, noisy.noise
    mixed = sl.bounds.theorem_3_1(S.float(), Z, W, Y, 4, 0.1, "two-links")
    pure = sl.bounds.theorem_3_1(S, Z, W, Y, 4, 0.1, "two-links")
    assert float(mixed.bound) > 100 * float(pure.bound)
    assert torch.isfinite(mixed.bound).all()
    assert torch.isfinite(sl.wedin_bound(S.float(), noisy.X, 4, "one-sided").bound).all()


def test_what_leaves_the_range_of_doubles_is_a_verdict():
    """W X* would be 2^1800: no number, and no exception either."""
    data, noisy, W, Y = layer(1e-12, trials=1, sigma=lambda A: A)
    unit = 2.0**900
    for form in ("printed", "links", "two-links"):
        given = (unit * data.clean, unit * noisy.noise, unit * W, Y, 4, 0.1)
        cert = sl.bounds.theorem_3_1(*given, form)
        assert cert.verdict != ["certifies"]
        assert float(sl.projection_distance(data.clean, Y, 4, "spectral")) <= float(cert.bound)

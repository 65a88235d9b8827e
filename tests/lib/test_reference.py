"""Reference, entrywise and cluster bounds, and the paper's chain: truth, tightness, controls."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subspace_lib as sl

F64 = torch.float64


@st.composite
def layers(draw):
    """(Y, R, k): a random layer near, or far from, a random reference."""
    n, p, k = draw(st.integers(6, 16)), draw(st.integers(3, 8)), draw(st.integers(1, 3))
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    R = torch.linalg.qr(torch.randn(n, k, generator=g, dtype=F64)).Q.T
    mixing = torch.randn(p, k, generator=g, dtype=F64) * 10 ** draw(st.floats(-0.5, 0.5))
    size = 10 ** draw(st.floats(-9, 0.3))
    return mixing @ R + size * torch.randn(p, n, generator=g, dtype=F64), R, k


@given(layers())
@settings(max_examples=300)
def test_reference_bound_is_never_violated(case):
    Y, R, k = case
    for q in range(k, min(Y.shape)):
        cert = sl.reference_bound(Y, R, q)
        truth = float(sl.projectors.containment_distance(R, Y, k, q))
        assert truth <= float(cert.bound)
        assert float(cert.bound) <= 1 or math.isinf(float(cert.bound))


@given(st.floats(0.01, 1.4))
def test_reference_bound_is_tight_for_one_turned_direction(theta):
    """Y of rank one: t = 0 and the bound on the tangent is the tangent itself."""
    R = np.array([[1.0, 0.0, 0.0]])
    Y = np.array([[math.cos(theta), math.sin(theta), 0.0], [0, 0, 0]])
    ratio = math.sin(theta) / float(sl.reference_bound(Y, R).bound)
    assert 0.99 < ratio <= 1


def test_without_a_gap_the_reference_can_be_lost_and_the_verdict_says_so():
    R = np.array([[1.0, 0.0]])
    Y = np.diag([0.5, 1.0])  # the other direction is stronger
    cert = sl.reference_bound(Y, R)
    assert cert.verdict == "no gap"
    assert math.isinf(float(cert.bound))
    assert sl.projectors.containment_distance(R, Y, 1, 1) == pytest.approx(1)


def test_negative_control_the_factor_one_minus_x_is_needed():
    """Dropping 1/(1 − t²/s²) gives a statement that is false."""
    R, worst = np.array([[1.0, 0.0]]), 0.0
    for t in (0.5, 0.9, 0.99):
        Y = np.array([[1.0, 0.05], [0.0, t]])
        truth = float(sl.projectors.containment_distance(R, Y, 1, 1))
        weakened = 0.05 / math.hypot(1, 0.05)  # ‖F₀‖/√(1 + ‖F₀‖²)
        assert truth <= float(sl.reference_bound(Y, R).bound)
        worst = max(worst, truth / weakened)
    assert worst > 2


@given(layers())
@settings(max_examples=300)
def test_entrywise_bound_is_never_violated(case):
    Y, R, k = case
    cert = sl.entrywise.entrywise_bound(Y, R)
    if math.isinf(float(cert.terms["sin θ"])):
        assert torch.isinf(cert.bound).all()
        return
    difference = (sl.row_projector(Y, k) - R.T @ R).abs()
    assert (difference <= cert.bound).all()


def test_first_order_term_is_exact_to_second_order():
    g = torch.Generator().manual_seed(0)
    R = torch.linalg.qr(torch.randn(12, 2, generator=g, dtype=F64)).Q.T
    M, N = torch.randn(4, 2, generator=g, dtype=F64), torch.randn(4, 12, generator=g, dtype=F64)
    widths = []
    for size in (1e-2, 1e-3):
        cert = sl.entrywise.entrywise_bound(M @ R + size * N, R)
        truth = (sl.row_projector(M @ R + size * N, 2) - R.T @ R).abs()
        widths.append(float((cert.bound - truth).max()))
    assert widths[1] < widths[0] / 5


def chain(variance, scale=1.0, trials=3):
    data = sl.sample_union(
        ambient_dim=40, n_subspaces=2, subspace_dim=2, points_per_subspace=15, trials=trials, seed=0
    )
    noisy = sl.add_noise(data, variance, seed=1)
    g = torch.Generator().manual_seed(0)
    W = scale * torch.randn(trials, 20, 40, generator=g, dtype=F64)
    return data, noisy, W, W @ noisy.X


def test_certified_clusters_are_the_clusters():
    certified = 0
    for variance in (0.0, 1e-6, 1e-4, 1e-3, 1e-2):
        data, _, _, Y = chain(variance)
        cert = sl.certify_clusters(Y, sl.row_basis(data.clean, 4), data.labels)
        Q = sl.row_projector(Y, 4)
        for trial in range(3):
            kept = cert.certified[trial]
            if cert.holds[trial]:
                certified += 1
                found = sl.clustering.cluster_by_threshold(Q[trial], float(cert.threshold[trial]))
                assert sl.clustering.accuracy(data.labels, found) == 1
                assert kept.all()
        assert ((cert.certified_share >= 0) & (cert.certified_share <= 1)).all()
    assert certified >= 6


def test_vacuous_layers_certify_nothing():
    data, *_ = chain(0.0)
    noise = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0), dtype=F64)
    cert = sl.certify_clusters(noise, sl.row_basis(data.clean, 4), data.labels)
    assert not cert.holds.any()
    assert (cert.certified_share == 0).all()


@pytest.mark.parametrize("form", ["printed", "links", "two-links"])
def test_the_chain_keeps_its_promise(form):
    held = 0
    for variance in (1e-16, 1e-12, 1e-8, 1e-4, 1e-2):
        data, noisy, W, Y = chain(variance)
        margin = sl.connectivity_margin(sl.row_projector(data.clean, 4), data.labels)
        cert = sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, margin, form)
        truth = sl.projection_distance(data.clean, Y, 4)
        assert (truth <= cert.bound).all()
        assert (truth[cert.holds] < margin[cert.holds] / 2).all()
        assert (cert.bound[cert.holds] < margin[cert.holds] / 2 * (1 + 1e-9)).all()
        held += int(cert.holds.sum())
    assert held > 0


def test_the_printed_form_depends_on_the_scale_of_the_weights_and_the_links_do_not():
    """Printed: min gap against max error. Scaling W changes neither P(Y) nor any other link."""
    verdicts = {"printed": set(), "links": set()}
    for scale in (1e-6, 1.0, 1e6):
        data, noisy, W, Y = chain(1e-10, scale, trials=1)
        for form, seen in verdicts.items():
            cert = sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, 0.01, form)
            seen.add(bool(cert.holds[0]))
    assert verdicts["links"] == {True}
    assert verdicts["printed"] == {True, False}


def test_bad_input():
    data, noisy, W, Y = chain(0.1)
    with pytest.raises(ValueError, match="W must be"):
        sl.bounds.theorem_3_1(data.clean, noisy.noise, W.mT, Y, 4, 0.1)
    with pytest.raises(ValueError, match="margin must be positive"):
        sl.bounds.theorem_3_1(data.clean, noisy.noise, W, Y, 4, 0.0)
    with pytest.raises(ValueError, match="orthonormal rows"):
        sl.reference_bound(Y, 2 * sl.row_basis(data.clean, 4))
    with pytest.raises(ValueError, match="at least the number of rows"):
        sl.reference_bound(Y, sl.row_basis(data.clean, 4), 3)
    with pytest.raises(ValueError, match="same number of columns"):
        sl.reference_bound(Y[..., :5], sl.row_basis(data.clean, 4))

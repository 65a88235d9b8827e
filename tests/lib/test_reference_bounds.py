"""The reference bound at extreme scales, against 60-digit arithmetic, and the bounds beside it."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subspace_lib as sl
from subspace_lib.reference import (
    affine_reference,
    direction_bounds,
    label_reference,
    sine_from_sums,
)

F64 = torch.float64


def randn(g, *shape):
    return torch.randn(*shape, generator=g, dtype=F64)


def true_sine(Y, V, q):
    """‖(I − Q)V‖ for the row space of V, in 60 digits: no rounding to allow for."""
    with mpmath.workdps(60):
        Ym, Vm = mpmath.matrix(Y.tolist()), mpmath.matrix(V.tolist())
        Ym = Ym / max(abs(x) for x in Ym)
        gram = Ym.T * Ym
        values, vectors = mpmath.eigsy(gram)
        order = sorted(range(len(values)), key=lambda i: -values[i])[:q]
        basis = mpmath.matrix([[vectors[i, j] for j in order] for i in range(gram.rows)])
        orthonormal = mpmath.qr(Vm.T, mode="skinny")[0]
        rest = orthonormal - basis * (basis.T * orthonormal)
        return float(mpmath.sqrt(max(mpmath.eigsy(rest.T * rest, eigvals_only=True))))


@st.composite
def scaled_layers(draw):
    """(Y, R, k): rows of very different size, noise down to 1e-17, units from 1e-250 to 1e250."""
    n, p, k = draw(st.integers(3, 6)), draw(st.integers(2, 4)), draw(st.integers(1, 2))
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    R = torch.linalg.qr(randn(g, n, k)).Q.T
    spread = 10 ** (draw(st.floats(0, 9)) * torch.rand(p, 1, generator=g, dtype=F64))
    noise = 10 ** draw(st.floats(-17, 0.3))
    Y = spread * (randn(g, p, k) @ R + noise * randn(g, p, n))
    return Y * 10.0 ** draw(st.integers(-250, 250)), R, k


@given(scaled_layers())
@settings(max_examples=150, deadline=None)
def test_exact_arithmetic_never_contradicts_the_bound(case):
    Y, R, k = case
    for q in range(k, min(Y.shape) + 1):
        cert = sl.reference_bound(Y, R, q)
        if math.isfinite(float(cert.bound)):
            assert true_sine(Y, R, q) <= float(cert.bound) <= 1
            each = direction_bounds(Y, R, q)
            for v, bound in zip(each.directions, each.bound, strict=True):
                if math.isfinite(float(bound)):
                    assert true_sine(Y, v[None], q) <= float(bound)


@given(st.floats(-16, -1), st.floats(0.01, 3.0), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_weak_direction_under_a_strong_one(size, lift, seed):
    """σ₁ ≫ σ₂: the weak direction's left vector carries the rounding of the strong one."""
    g = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(randn(g, 5, 5)).Q
    R = basis[:2]
    core = torch.zeros(3, 5, dtype=F64)
    core[0, 0], core[1, 1] = 1.0, 10**size
    core[0, 2], core[1, 3], core[2, 4] = lift, lift * 10**size, 0.3 * 10**size
    Y = torch.linalg.qr(randn(g, 3, 3)).Q @ core @ basis
    for q in (2, 3):
        bound = float(sl.reference_bound(Y, R, q).bound)
        assert math.isinf(bound) or true_sine(Y, R, q) <= bound


def test_the_allowance_does_not_swallow_the_bound():
    """At noise 1e-12 the bound is still of the size of the truth."""
    g = torch.Generator().manual_seed(0)
    R = torch.linalg.qr(randn(g, 40, 3)).Q.T
    M, N = randn(g, 10, 3), randn(g, 10, 40)
    for noise in (1e-12, 1e-9, 1e-6):
        Y = M @ R + noise * N
        truth = float(sl.projectors.containment_distance(R, Y, 3, 3))
        assert truth <= float(sl.reference_bound(Y, R).bound) < 3 * truth


@given(st.integers(-300, 300))
def test_the_unit_of_y_changes_nothing_but_the_reported_numbers(exponent):
    g = torch.Generator().manual_seed(1)
    R = torch.linalg.qr(randn(g, 8, 2)).Q.T
    Y = randn(g, 4, 2) @ R + 0.01 * randn(g, 4, 8)
    unit = 2.0**exponent  # exact
    one, other = sl.reference_bound(Y, R), sl.reference_bound(unit * Y, R)
    assert float(one.bound) == float(other.bound)
    assert float(other.gap) == unit * float(one.gap)


def test_denormal_and_zero_layers_have_a_verdict():
    R = torch.tensor([[1.0, 0.0]], dtype=F64)
    assert sl.reference_bound(torch.zeros(2, 2, dtype=F64), R).verdict == "no gap"
    tiny = torch.tensor([[5e-320, 1e-320], [0.0, 0.0]], dtype=F64)
    assert true_sine(tiny, R, 1) <= float(sl.reference_bound(tiny, R).bound) <= 1


@given(st.integers(0, 10**6), st.floats(-1, 1), st.floats(-2, 1))
def test_two_columns_are_an_equality(seed, a, b):
    """k = 1, n = 2: tan θ = ‖F₀‖/(1 − t²/s²), whatever the matrix."""
    g = torch.Generator().manual_seed(seed)
    Y = randn(g, 3, 2) * torch.tensor([10**a, 10**b], dtype=F64)
    R = torch.tensor([[1.0, 0.0]], dtype=F64)
    cert = sl.reference_bound(Y, R)
    if float(cert.bound) < math.inf and float(cert.gap) > 1e-6:
        assert float(sl.projectors.sin_theta(R, Y, 1)[0]) == pytest.approx(
            float(cert.bound), rel=1e-6
        )


def test_rounded_references_are_made_orthonormal():
    g = torch.Generator().manual_seed(2)
    R = torch.linalg.qr(randn(g, 9, 2)).Q.T
    Y = randn(g, 4, 2) @ R
    for single in (R.float().double(), R.float()):
        bound = float(sl.reference_bound(Y, single).bound)
        assert true_sine(Y, single.double(), 2) <= bound < 1e-5


def test_the_lost_direction_is_named():
    """One direction of three is drowned: its bound is infinite, the others are kept."""
    g = torch.Generator().manual_seed(3)
    R = torch.linalg.qr(randn(g, 30, 3)).Q.T
    strength = torch.tensor([3.0, 2.0, 1e-4], dtype=F64)
    M = torch.linalg.qr(randn(g, 6, 3)).Q * strength
    Y = M @ R + 0.01 * randn(g, 6, 30)
    assert math.isinf(float(sl.reference_bound(Y, R).bound))
    cert = direction_bounds(Y, R)
    assert cert.holds.tolist() == [True, True, False]
    assert (cert.bound[:2] < 0.1).all()
    assert abs(float(cert.directions[2] @ R[2])) > 0.9
    truth = [float(sl.projectors.containment_distance(v[None], Y, 1, 3)) for v in cert.directions]
    assert truth[0] <= float(cert.bound[0])
    assert truth[1] <= float(cert.bound[1])
    assert truth[2] > 0.5


def sample(variance, trials=3):
    data = sl.sample_union(
        ambient_dim=40, n_subspaces=2, subspace_dim=2, points_per_subspace=15, trials=trials, seed=0
    )
    return data, sl.add_noise(data, variance, seed=1)


def test_affine_reference_holds_every_affine_layer():
    data, _ = sample(0.0)
    R = affine_reference(data.clean, 4)
    assert R.shape == (3, 5, 30)
    W, b = randn(torch.Generator().manual_seed(0), 3, 20, 40), torch.full((20, 1), 0.3, dtype=F64)
    Y = W @ data.clean + b * torch.linspace(-1, 1, 20, dtype=F64)[:, None]
    assert (sl.reference_bound(Y, R).bound < 1e-9).all()
    assert (sl.projectors.containment_distance(data.clean, Y, 4, 5) < 1e-12).all()
    ones = torch.ones(1, 30, dtype=F64)
    with pytest.raises(ValueError, match="already lies in the row space"):
        affine_reference(torch.cat([data.clean[0], ones]), 5)


def test_label_reference_is_block_diagonal_and_exact_on_clean_data():
    data, noisy = sample(0.3)
    for X, ranks in ((data.clean, 2), (noisy.X, [1, 3])):
        R = label_reference(X, data.labels, ranks)
        assert R.shape == (3, 4, 30)
        assert torch.allclose(R @ R.mT, torch.eye(4, dtype=F64).expand(3, 4, 4), atol=1e-12)
        P = R.mT @ R
        across = data.labels[:, None] != data.labels[None, :]
        assert (P[:, across] == 0).all()
    clean = label_reference(data.clean, data.labels, 2)
    assert (sl.projection_distance(clean, data.clean, 4, "spectral") < 1e-12).all()
    assert label_reference(data.clean, data.labels, 2, ones=True).shape == (3, 5, 30)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    moved = label_reference(data.clean[..., shuffled], data.labels[shuffled], 2)
    assert (sl.projection_distance(clean[..., shuffled], moved, 4, "spectral") < 1e-12).all()


def test_bad_input():
    data, _ = sample(0.0)
    Y = randn(torch.Generator().manual_seed(0), 3, 20, 40) @ data.clean
    with pytest.raises(ValueError, match="one per class"):
        label_reference(data.clean, data.labels, [2, 2, 2])
    with pytest.raises(ValueError, match="numerical rank"):
        label_reference(data.clean, data.labels, 3)
    with pytest.raises(ValueError, match="at least the number of rows"):
        direction_bounds(Y, sl.row_basis(data.clean, 4), 3)


def plane(a):
    """s = 1, t² = 1 − a, ‖F₀‖ = a, and an angle of 45 degrees."""
    Y = torch.tensor([[1.0, a], [0.0, math.sqrt(1 - a * a)]], dtype=F64)
    return Y, torch.tensor([[1.0, 0.0]], dtype=F64)


@pytest.mark.parametrize("a", [0.01, 0.3, 0.9])
def test_the_slopes_are_attained_in_the_plane(a):
    """A doubled or halved slope of either bound fails here."""
    Y, R = plane(a)
    for norm in ("spectral", "fro"):
        assert 0.99 < math.sqrt(0.5) / float(sl.reference_bound(Y, R, norm=norm).bound) <= 1
    assert 0.99 < math.sqrt(0.5) / float(direction_bounds(Y, R).bound[0]) <= 1


def test_two_planes_side_by_side_attain_the_frobenius_bound():
    """Equal angles: ‖(I − Q)Rᵀ‖_F = √k sin θ."""
    Y, _ = plane(0.2)
    Y = torch.block_diag(Y, Y)
    R = torch.eye(4, dtype=F64)[[0, 2]]
    bound = float(sl.reference_bound(Y, R, norm="fro").bound)
    assert 0.99 < 1.0 / bound <= 1
    turned = torch.block_diag(plane(0.2)[0], torch.tensor([[2.0, 0.0], [0.0, 0.1]], dtype=F64))
    both = [float(sl.reference_bound(turned, R, norm=norm).bound) for norm in ("spectral", "fro")]
    assert both[1] < 1.25 * both[0]  # one direction is turned, not √2 of them
    with pytest.raises(ValueError, match="'spectral', 'fro'"):
        sl.reference_bound(Y, R, norm="max")


def test_fewer_rows_than_directions():
    """p < k: σ_i = 0 beyond p, and every direction is named."""
    g = torch.Generator().manual_seed(4)
    R = torch.linalg.qr(randn(g, 7, 3)).Q.T
    cert = direction_bounds(randn(g, 2, 3) @ R, R)
    assert cert.bound.shape == cert.gap.shape == (3,)
    assert cert.directions.shape == (3, 7)
    torch.testing.assert_close(cert.directions @ cert.directions.mT, torch.eye(3, dtype=F64))
    assert (cert.bound[:2] < 1e-6).all()
    assert math.isinf(float(cert.bound[2]))
    assert sl.reference_bound(randn(g, 2, 3) @ R, R).verdict == "no gap"


@given(st.integers(0, 10**6), st.floats(-5, math.log10(5e-5)), st.floats(-1, 1))
@settings(max_examples=60)
def test_the_bounds_are_about_the_reference_that_was_given(seed, size, noise):
    """|RRᵀ − I| up to 1e-4: ‖(I − Q)Rᵀ‖ and |Q − RᵀR| for this R, not for its orthonormal rows."""
    g = torch.Generator().manual_seed(seed)
    R = torch.linalg.qr(randn(g, 6, 2)).Q.T
    Y = randn(g, 3, 2) @ R + 10**noise * randn(g, 3, 6)
    R = R + 10**size * randn(g, 2, 2).clamp(-0.9, 0.9) @ R
    cert, Q = sl.reference_bound(Y, R), sl.row_projector(Y, 2)
    if math.isfinite(float(cert.bound)):
        stick_out = R - R @ Q
        assert float(torch.linalg.matrix_norm(stick_out, 2)) <= float(cert.bound)
        fro = sl.reference_bound(Y, R, norm="fro").bound
        assert float(torch.linalg.matrix_norm(stick_out)) <= float(fro)
        bound = sl.entrywise.entrywise_bound(Y, R).bound
        assert ((Q - R.mT @ R).abs() <= bound).all()
    stretched = (1 + 4e-5) * torch.tensor([[1.0, 0.0]], dtype=F64)
    across = torch.tensor([[1.0, 0.0, 1.0], [1e-9, 1.0, 0.0]], dtype=F64)[:, :2]
    lost = sl.reference_bound(across.flip(0), stretched).bound
    assert float(
        torch.linalg.vector_norm(stretched @ (torch.eye(2) - sl.row_projector(across, 1)))
    ) <= float(lost)


def test_each_entrywise_bound_is_about_the_reference_that_was_given():
    """A clean layer: Q is the exact projector, RᵀR differs from it by what R is stretched."""
    g = torch.Generator().manual_seed(6)
    R = torch.linalg.qr(randn(g, 6, 2)).Q.T
    terms = sl.entrywise.entrywise_bound(randn(g, 3, 2) @ R, (1 + 2e-5) * R).terms
    off = (1 + 2e-5) ** 2 * R.T @ R - R.T @ R
    for form in "ABC":
        assert (off.abs() <= terms[form]).all()
        assert float(terms[form].max()) < 1e-4


def test_single_precision_is_allowed_for():
    """Rounding Y to single precision stays inside the bound of the rounded Y."""
    g = torch.Generator().manual_seed(5)
    R = torch.linalg.qr(randn(g, 9, 2)).Q.T
    Y = randn(g, 4, 2) @ R
    coarse = Y.float()
    bound = float(sl.reference_bound(coarse, R).bound)
    assert true_sine(coarse.double(), R, 2) <= bound < 1e-5
    assert true_sine(Y, R, 2) <= bound
    exact = float(sl.reference_bound(coarse.double(), R).bound)
    assert bound > exact + 1e-8  # what single precision may hide


def test_the_last_digits_go_upwards():
    """Angles at which the sine of the tangent, as computed, rounds below the sine."""
    from subspace_lib.reference import _sine

    slope = torch.logspace(-3, 6, 2000, dtype=F64)
    found = _sine(slope, torch.zeros_like(slope)).tolist()
    with mpmath.workdps(40):
        for s, sine in zip(slope.tolist(), found, strict=True):
            exact = mpmath.mpf(s) / mpmath.sqrt(1 + mpmath.mpf(s) ** 2)
            assert exact <= sine <= exact * (1 + 1e-14)


def sums(Y, R):
    return Y @ Y.mT, Y @ R.mT, float(Y.square().sum())


@given(st.integers(0, 10**6), st.floats(-12, 0), st.floats(-170, 150), st.booleans())
@settings(max_examples=60)
def test_the_bound_from_sums_is_above_the_truth(seed, noise, unit, gram):
    """Sums of squares lose half of the digits, and below 1e-160 all: both are allowed for."""
    g = torch.Generator().manual_seed(seed)
    R = torch.linalg.qr(randn(g, 6, 2)).Q.T
    Y = 10**unit * (randn(g, 4, 2) @ R + 10**noise * randn(g, 4, 6))
    G, C, energy = sums(Y, R)
    t = torch.linalg.svdvals(Y)[2:3]
    bound = float(sine_from_sums(G if gram else None, C, energy, t, 6))
    assert true_sine(Y, R, 2) <= bound
    if gram and -100 < unit < 100 and noise < -3:
        assert bound < 1  # it says something


def test_the_bound_from_sums_knows_the_precision_of_the_layer():
    g = torch.Generator().manual_seed(8)
    R = torch.linalg.qr(randn(g, 6, 2)).Q.T
    Y = randn(g, 4, 2) @ R
    G, C, energy = sums(Y, R)
    t = torch.zeros(1, dtype=F64)
    fine, coarse = (
        float(sine_from_sums(G, C, energy, t, 6, torch.finfo(dtype).eps))
        for dtype in (F64, torch.float32)
    )
    assert coarse > fine + 1e-8

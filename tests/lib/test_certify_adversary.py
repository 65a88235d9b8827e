"""Certificates from what is observed, against noise that searches for a violation."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import subspace_lib as sl
from subspace_lib.certify.cuts import uncut
from subspace_lib.certify.deterministic import entry_bounds
from subspace_lib.certify.gaussian import null_bounds

EPS = 2.0**-52
KINDS = ("gaussian", "rank one", "one column", "weakest", "steepest", "down")


def union(random, *, integer=False, condition=0.0):
    """Clean (p, n) of two or three independent subspaces, its rows, rank and labels."""
    dims = random.integers(1, 4, random.integers(2, 4))
    counts = dims + random.integers(1, 6, len(dims))
    k, n = int(dims.sum()), int(counts.sum())
    p = k + int(random.integers(0, 5))
    V = np.zeros((k, n))
    row = column = 0
    for d, c in zip(dims, counts, strict=True):
        block = random.integers(-4, 5, (d, c)) if integer else random.standard_normal((d, c))
        V[row : row + d, column : column + c] = block
        row, column = row + d, column + c
    if integer:
        U = random.integers(-3, 4, (p, k)).astype(float)
    else:
        U = random.standard_normal((p, k)) * 10 ** (-condition * random.random(k))
    return U @ V, V, k, np.repeat(np.arange(len(dims)), counts)


def bad_noise(A, k, kind, nu, random):
    """Noise of norm ν that wants to move the row space of A."""
    p, n = A.shape
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    i, j = random.integers(0, n, 2)
    outside = np.eye(n) - Vh[:k].T @ Vh[:k]
    if kind == "gaussian":
        N = random.standard_normal((p, n))
    elif kind == "rank one":
        N = np.outer(random.standard_normal(p), random.standard_normal(n))
    elif kind == "one column":
        N = np.zeros((p, n))
        N[:, i] = random.standard_normal(p)
    elif kind == "weakest":
        N = np.outer(U[:, k - 1], outside[j])
    elif kind == "down":  # takes the weakest direction away
        N = -np.outer(U[:, k - 1], Vh[k - 1])
    else:  # the steepest direction for entry (i, j), all singular values equal
        G = np.outer(U[:, :k] @ (Vh[:k, i] / s[:k]), outside[j])
        G = G + np.outer(U[:, :k] @ (Vh[:k, j] / s[:k]), outside[i])
        left, size, right = np.linalg.svd(G, full_matrices=False)
        N = (left * (size > 1e-9 * size[0])) @ right
    return N * (nu / max(np.linalg.norm(N, 2), 1e-300))


def projector(V):
    Q = np.linalg.qr(V.T)[0]
    return Q @ Q.T


def cases(count, seed):
    random = np.random.default_rng(seed)
    while count:
        A, V, k, y = union(random, condition=random.choice([0.0, 1.0]))
        s = np.linalg.svd(A, compute_uv=False)[k - 1]
        if np.linalg.matrix_rank(V) < k or s < 1e-6:
            continue
        kind = KINDS[count % len(KINDS)]
        N = bad_noise(A, k, kind, s * 10 ** random.uniform(-4, -0.1), random)
        count -= 1
        yield A, N, V, k, y, kind


def test_no_entry_leaves_its_bound():
    """|P − Q| ≤ b entry by entry and ‖(P − Q)e_i‖ ≤ d_i, with exact sizes of the noise."""
    tightest, told = 0.0, 0
    for A, N, V, k, _, _ in cases(1500, 1):
        Y, P = torch.from_numpy(A + N), projector(V)
        nu = torch.tensor(np.linalg.norm(N, 2))
        for columns in (None, torch.from_numpy(np.linalg.norm(N, axis=0))):
            entries, rows = entry_bounds(Y, k, nu, columns, EPS)
            if not entries.proves:
                continue
            error = entries.similarity().numpy() - P
            bound = entries.bound().numpy()
            told += 1
            assert (np.abs(error) <= bound + 1e-13).all()
            assert (np.linalg.norm(error, axis=0) <= rows.length.numpy() + 1e-13).all()
            assert np.linalg.norm(error, 2) <= rows.sine + 1e-13
            tightest = max(tightest, float((np.abs(error) / bound).max()))
    assert told > 2000
    assert 0.9 < tightest <= 1  # a bound half as large would fail


def test_no_cut_joins_two_clusters():
    """Also where links of entries are withheld, so that cuts have all to do."""
    joined = 0
    for A, N, _, k, y, _ in cases(600, 2):
        Y, nu = torch.from_numpy(A + N), torch.tensor(np.linalg.norm(N, 2))
        entries, rows = entry_bounds(Y, k, nu, None, EPS)
        if not entries.proves:
            continue
        for parts in (
            torch.arange(len(y)),
            torch.from_numpy(
                np.unique(
                    [f"{a} {b}" for a, b in zip(y, np.arange(len(y)) % 2, strict=True)],
                    return_inverse=True,
                )[1]
            ),
        ):
            for J in uncut(entries.V, rows.length, parts, rows.unit):
                members = torch.isin(parts, J).numpy()
                assert len(set(y[members])) == 1
                joined += 1
    assert joined > 100


def test_no_link_is_wrong_whatever_the_noise_does():
    found = 0
    for A, N, _, k, y, _ in cases(600, 3):
        radius = (np.linalg.norm(N, 2), np.linalg.norm(N, axis=0))
        result = sl.must_links(A + N, k, radius=radius)
        assert not (result.links & (y[:, None] != y)).any()
        found += result.links.any()
    assert found > 300


@given(st.integers(0, 2**32 - 1), st.integers(-17, -8))
@settings(max_examples=60, deadline=None)
def test_integer_data_judged_in_sixty_digits(seed, exponent):
    """Rounding included: A has its rank exactly, noise is of the size of rounding errors."""
    random = np.random.default_rng(seed)
    A, V, k, y = union(random, integer=True)
    if np.linalg.matrix_rank(A) < k:
        return
    s = np.linalg.svd(A, compute_uv=False)
    N = bad_noise(A, k, KINDS[seed % len(KINDS)], s[k - 1] * 10.0**exponent, random)
    Y = A + N
    with mpmath.workdps(60):
        clean, W = mpmath.matrix(A.tolist()), mpmath.matrix(V.tolist())
        noise = mpmath.matrix(Y.tolist()) - clean  # what N has become by rounding
        P = W.T * mpmath.inverse(W * W.T) * W
        nu = float(mpmath.mnorm(noise, "f")) * (1 + 1e-15)
    exact = np.array(P.tolist())
    entries, _ = entry_bounds(torch.from_numpy(Y), k, torch.tensor(nu), None, EPS)
    S, bound = entries.similarity().numpy(), entries.bound().numpy()
    if entries.proves:
        error = np.array(
            [
                [float(abs(mpmath.mpf(a) - b)) for a, b in zip(*rows, strict=True)]
                for rows in zip(S.tolist(), exact, strict=True)
            ]
        )
        assert (error <= bound).all()
    assert not (sl.must_links(Y, k, radius=nu).links & (y[:, None] != y)).any()


def test_the_sine_is_attained():
    """p = k = 1, N orthogonal to Y − N: ‖P − Q‖ = ν/s."""
    s, nu = 2.0, 1.25
    Y = torch.tensor([[s, 0.0]], dtype=torch.float64)
    N = torch.tensor([[nu**2 / s, nu * math.sqrt(1 - nu**2 / s**2)]], dtype=torch.float64)
    P = projector((Y - N).numpy())
    entries, rows = entry_bounds(Y, 1, torch.tensor(nu, dtype=torch.float64), None, EPS)
    assert np.linalg.norm(P - entries.similarity().numpy(), 2) == pytest.approx(nu / s, rel=1e-12)
    assert rows.sine == pytest.approx(nu / s, rel=1e-12)


def test_a_rank_too_small_makes_wrong_links():
    """X* = [[1, 2, 0, 0], [0, 0, 1, 1]] under W = [1 1]: why rank must be that of X*."""
    Y = np.array([[1.0, 2.0, 1.0, 1.0]])
    assert sl.must_links(Y, 1, radius=1e-3).parts == 1


def gaussian_cases(count, seed):
    """Shapes are few, so that laws are drawn once; angles, conditions and noise are many."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        K, d = [(2, 1), (2, 2), (3, 1)][random.integers(3)]
        k, n_k = K * d, 10
        p, n = 2 * k + 3, K * n_k
        V = np.kron(np.eye(K), np.ones((d, n_k))) * random.standard_normal((k, n))
        U = random.standard_normal((p, k)) * random.uniform(0.3, 1, k)
        U += random.uniform(0, 2) * random.standard_normal((p, 1))  # small angles
        s = np.linalg.svd(U @ V, compute_uv=False)[k - 1]
        sigma = s * 10 ** random.uniform(-2.5, -0.7) / math.sqrt(n)
        draw = lambda: U @ V + sigma * random.standard_normal((p, n))  # noqa: B023, E731
        yield draw, sigma, k, np.repeat(np.arange(K), n_k)


def family_wise(count, seed, certify):
    """How often any link is wrong, and how often there are links."""
    wrong = some = 0
    for draw, sigma, k, y in gaussian_cases(count, seed):
        links = certify(draw, sigma, k)
        wrong += bool((links & (y[:, None] != y)).any())
        some += bool(links.any())
    return wrong, some


def bare(draw, sigma, k, level=0.5):
    """The theorem without the guard: another batch shows the directions."""
    U = np.linalg.svd(draw(), full_matrices=False)[0][:, :k]
    T = torch.from_numpy(U.T @ draw())
    entries = null_bounds(T, (sigma, sigma), level)
    links = (entries.similarity().abs() > entries.bound()).numpy()
    return links & ~np.eye(len(links), dtype=bool)


WAYS = {
    "other batch": lambda draw, sigma, k: bare(draw, sigma, k),
    "splits": lambda draw, sigma, k: sl.must_links(draw(), k, noise=sigma, level=0.5).links,
    "unknown": lambda draw, sigma, k: sl.must_links(draw(), k, level=0.5).links,
    "bounded": lambda draw, sigma, k: (
        sl.must_links(draw(), k, noise=(0.8 * sigma, sigma), level=0.5, source=draw()).links
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_wrong_links_are_rarer_than_the_level(way):
    """At level ½; so many would be seen with probability < 1e-6 if the level were exceeded."""
    count = 400
    wrong, some = family_wise(count, 5, WAYS[way])
    assert wrong < binom.ppf(1e-6, count, 0.5)
    assert some > count / 10


CONTROLS = {
    "half the deviation": lambda draw, sigma, k: bare(draw, sigma / 2, k),
    "a rank too small": lambda draw, sigma, k: bare(draw, sigma, k - 1),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_without_its_hypotheses_the_level_is_exceeded(control):
    count = 300
    wrong, _ = family_wise(count, 6, CONTROLS[control])
    assert wrong > binom.ppf(1 - 1e-6, count, 0.5)


@pytest.mark.parametrize("control", CONTROLS)
def test_the_guard_sees_it(control):
    """The tool refuses most of what breaks the bare theorem."""
    refused = 0
    for draw, sigma, k, _ in gaussian_cases(60, 7):
        options = {"noise": sigma / 2} if "half" in control else {"noise": sigma}
        result = sl.must_links(draw(), k - ("rank" in control), **options)
        refused += bool(result.refused)
    assert refused > 50

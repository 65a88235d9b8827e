"""Every certificate of the library against an adversary that searches for violations."""

import mpmath
import pytest
import torch
from adversary import exact, hunt, leading, rows, sines

import subspace_lib as sl

bounds = sl.bounds


def wedin(case):
    A, r = case["S"], int(case["r"])
    B = A + case["Z"]
    spectral, frobenius = sines(leading(exact(A), r), leading(exact(B), r))
    yield spectral, float(sl.wedin_bound(A, B, r).bound)
    yield spectral, float(sl.wedin_bound(A, B, r, "one-sided").bound)
    yield frobenius, float(sl.wedin_bound(A, B, r, "fro").bound)


def noise_link(case):
    r = int(case["r"])
    X = exact(case["S"]) + exact(case["Z"])
    moved = mpmath.sqrt(2) * sines(leading(exact(case["S"]), r), leading(X, r))[1]
    yield moved, float(bounds.lemma_4_1(case["S"], case["Z"], r, 1.0).bound)


def mixing_link(case):
    r = int(case["r"])
    X = exact(case["S"]) + exact(case["Z"])
    moved = mpmath.sqrt(2) * sines(leading(X, r), leading(exact(case["W"]) * X, r))[1]
    yield moved, float(bounds.lemma_4_2(case["S"], case["Z"], case["W"], r, 1.0).bound)


def bent_link(case):
    r, A = int(case["r"]), case["W"] @ (case["S"] + case["Z"])
    moved = mpmath.sqrt(2) * sines(leading(exact(A), r), leading(exact(case["Y"]), r))[1]
    yield moved, float(bounds.lemma_4_3(A, case["Y"], r, 1.0).bound)


def chain(case):
    """All forms of the theorem and of its corollary, for one layer, and the promise of each."""
    S, Z, W, Y, r = (case[name] for name in "SZWYr")
    r = int(r)
    spectral, frobenius = sines(leading(exact(S), r), leading(exact(Y), r))
    for form in bounds.CHAIN_FORMS:
        cert = bounds.theorem_3_1(S, Z, W, Y, r, 0.5, form)
        moved = spectral if form == "two-links" else mpmath.sqrt(2) * frobenius
        yield moved, float(cert.bound)
        if cert.holds:
            yield spectral, 0.25
    yield spectral, float(bounds.depth_corollary(S, Z, [(W, Y)], r, 0.5).bound)


def two_layers(case):
    S, Z, W, Y, r = (case[name] for name in "SZWYr")
    r = int(r)
    V = torch.tensor([[1.0, 0.3, 0.0], [0.0, 1.0, 0.2], [0.1, 0.0, 1.0]], dtype=S.dtype)
    top = V @ Y
    moved = sines(leading(exact(S), r), leading(exact(top), r))[0]
    yield moved, float(bounds.depth_corollary(S, Z, [(W, Y), (V, top)], r, 0.5).bound)


def reference(case):
    Y, R = case["Y"], case["R"]
    for q in range(len(R), 4):
        spectral, frobenius = sines(rows(R), leading(exact(Y), q))
        yield spectral, float(sl.reference_bound(Y, R, q).bound)
        yield frobenius, float(sl.reference_bound(Y, R, q, norm="fro").bound)


def directions(case):
    Y, R = case["Y"], case["R"]
    cert = sl.reference.direction_bounds(Y, R)
    into = leading(exact(Y), len(R))
    for v, bound in zip(cert.directions, cert.bound.tolist(), strict=True):
        yield sines(exact(v[:, None]), into)[0], bound


def entries(case):
    """The three bounds, and the interval for |Q_ij|, at every entry."""
    Y, R = case["Y"], case["R"]
    cert = sl.entrywise.entrywise_bound(Y, R)
    if not torch.isfinite(cert.bound).all():
        return
    V, U = rows(R), leading(exact(Y), len(R))
    P, Q = V * V.T, U * U.T
    terms = {name: cert.terms[name].tolist() for name in cert.terms if cert.terms[name].ndim == 2}
    for i in range(4):
        for j in range(i + 1):
            for form in "ABC":
                yield abs(Q[i, j] - P[i, j]), terms[form][i][j]
            for centre, width in (("centre", "remainder"), ("centre C", "remainder C")):
                yield abs(Q[i, j] - terms[centre][i][j]), terms[width][i][j]
            yield abs(Q[i, j]), terms["upper"][i][j]
            assert terms["lower"][i][j] <= abs(Q[i, j])


CERTIFICATES = {
    claims.__name__: claims
    for claims in (
        wedin,
        noise_link,
        mixing_link,
        bent_link,
        chain,
        two_layers,
        reference,
        directions,
        entries,
    )
}
STEPS = 30  # of each hunt; `make long` does more


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_short_hunt_finds_no_violation(name):
    found = [hunt(CERTIFICATES[name], seed, STEPS) for seed in range(4)]
    assert sum(tried for _, tried in found) > STEPS  # else nothing was tested
    assert max(best for best, _ in found) > 0.05


@pytest.mark.long
@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_long_hunt_finds_no_violation(name):
    for seed in range(100, 140):
        hunt(CERTIFICATES[name], seed, 4 * STEPS)

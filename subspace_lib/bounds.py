"""Perturbation bounds for row spaces, each evaluated as a certificate.

A certificate keeps the terms of its bound and derives its verdict from them. A gap that is not
positive is a verdict ("no gap", bound = ∞), never an exception.

Rounding. Everything is computed in double precision, in units of powers of two in which nothing
over- or underflows; numbers that leave the range of doubles on the way back are rounded against
the certificate. Every gap and every error carries ``rounding_unit`` times the largest norm that
was involved, factors of a product included, with the eps of the coarsest input: an allowance by
experience, tested against 60-digit arithmetic, not a proved constant. Proved is what follows if
singular values and products are right to that allowance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certificate import Certificate
from subspace_lib.chain import Pair, divide, in_double, layer_of, link, stacked
from subspace_lib.rowspace import (
    nth,
    outward,
    rounding_allowance,
    shifted,
    singular_values,
    top_norm,
    unit_exponent,
)

WEDIN_FORMS = ("spectral", "fro", "one-sided")


@check.numpy_in_numpy_out
def spectral_gap(A: Tensor, B: Tensor, rank: int) -> Tensor:
    """δ = s_r(A) − s_{r+1}(B), the gap between A's leading and B's trailing singular values.

    A: (..., m, n), B: (..., p, n). Returns (...); s_j := 0 beyond min(m, n). May be ≤ 0: then no
    bound of this kind says anything.
    """
    A, B = check.matrices(A=A, B=B)
    r = check.rank_within(rank, A)
    return nth(singular_values(A), r) - nth(singular_values(B), r + 1)


def wedin_bound(A: Tensor, B: Tensor, rank: int, form: str = "spectral") -> Certificate:
    """Wedin's sin Θ bound between the top-r row spaces of A and B = A + E.

    With δ = s_r(A) − s_{r+1}(B) > 0 and A's leading triples (U_1, Σ_1, V_1):
      "spectral":   ‖sin Θ‖   ≤ ‖E‖ / δ
      "fro":        ‖sin Θ‖_F ≤ √r ‖E‖ / δ
      "one-sided":  ‖sin Θ‖   ≤ max(‖E V_1‖, ‖Eᵀ U_1‖) / δ   (the sharpest of the three)
    A need not have rank r. The bound is ∞ where δ ≤ 0; where it is ≥ 1 (≥ √r for "fro") it says
    nothing, and ``holds`` is False. A, B: (..., m, n) → Certificate of shape (...).
    Raises ValueError for different shapes or a bad rank. Source: Wedin (1972),
    doi:10.1007/BF01932678.

    >>> sl.wedin_bound(data.X, noisy.X, rank=6)
    Wedin, spectral: ‖sin Θ‖
      ‖E‖        0.01632
      gap        0.486
      threshold  0.01632
      bound      0.03358
      verdict    certifies
    """
    check.one_of(form, WEDIN_FORMS, "form")
    A, B = check.matrices("shape", A=A, B=B)
    r = check.rank_within(rank, A)
    (A, B), eps = in_double(A, B)
    unit = unit_exponent(A, B)
    A, B = (shifted(M, -unit[..., None, None]) for M in (A, B))
    E, slack = B - A, rounding_allowance(A, B, eps=eps)
    gap = spectral_gap(A, B, r)
    if form == "one-sided":
        U, _, Vh = torch.linalg.svd(A, full_matrices=False)
        right = top_norm(E @ Vh[..., :r, :].mT)
        left = top_norm(E.mT @ U[..., :r])
        terms = {"‖E V₁‖": outward(right, unit, True), "‖Eᵀ U₁‖": outward(left, unit, True)}
        error = torch.maximum(right, left)
    else:
        error = top_norm(E)
        terms = {"‖E‖": outward(error, unit, True)}
    factor = r**0.5 if form == "fro" else 1.0
    quantity = "‖sin Θ‖_F" if form == "fro" else "‖sin Θ‖"
    bound = divide(factor * (error + slack), gap - slack)
    # The Frobenius norm of r sines is at most √r anyway: useful below that, as ‖sin Θ‖ below 1.
    gap, threshold = outward(gap, unit, False), outward(error + 2 * slack, unit, True)
    return Certificate(f"Wedin, {form}", quantity, gap, threshold, bound, terms)


def kappa(rank: int, margin: Tensor) -> Tensor:
    """κ = √(2⁷ r)/ε: a gap of κ times its error moves the projector by less than ε/8."""
    return (128 * rank) ** 0.5 / margin


def positive_margin(margin: Any, **like: Tensor) -> Tensor:
    """ε, one number or one a trial of these matrices (...); ValueError unless positive."""
    several = isinstance(margin, (Tensor, np.ndarray)) and margin.ndim > 0
    given = check.as_tensor(margin, "margin") if several else check.non_negative(margin, "margin")
    device = next(iter(like.values())).device
    epsilon = torch.as_tensor(given, dtype=torch.float64, device=device)
    if not (epsilon > 0).all():
        raise ValueError(f"margin must be positive, got {float(epsilon.min()):.3g}; see margins")
    batches = {name: (A, A.shape[:-2]) for name, A in like.items()}
    trials = check.together(batches)
    if check.together({**batches, "margin": (epsilon, epsilon.shape)}) != trials:
        raise ValueError(
            f"margin must be one number or one for each trial {tuple(trials)}, got shape "
            f"{tuple(epsilon.shape)}"
        )
    return epsilon


def layer_weights(
    S: Tensor, W: Any, *output: Any, names: tuple[str, str] = ("W", "Y")
) -> list[Tensor]:
    """W and Y as matrices; ValueError unless Y, if given, may be an activation of W times S."""
    p: Any = "p"
    W = check.matrix(W, names[0])
    for Y in output:
        S, Y = check.matrices(clean=S, **{names[1]: Y})
        output, p = (Y,), Y.shape[-2]
    if W.shape[-1] != S.shape[-2] or p not in ("p", W.shape[-2]):
        raise ValueError(
            f"{names[0]} must be ({p}, {S.shape[-2]}) to map clean {tuple(S.shape)}, got "
            f"{tuple(W.shape)}; rows are neurons, pass the weights that produced {names[1]}"
        )
    check.together({"clean": (S, S.shape[:-2]), names[0]: (W, W.shape[:-2])})
    return [W, *output]


def lemma_4_1(clean: Tensor, noise: Tensor, rank: int, margin: Tensor | float) -> Certificate:
    """The paper's Lemma 4.1: δ₁ > √(2⁷r) ‖Z‖/ε ⇒ ‖P(X*) − P(X)‖_max < ε/8, X = X* + Z.

    δ₁ = s_r(X*) − s_{r+1}(X). bound: √(2r) ‖Z‖/δ₁, on the Frobenius norm, hence on the others.
    clean, noise: (..., m, n); margin: ε, (...) or a number → Certificate of shape (...).
    Raises ValueError for shapes that do not fit, a bad rank or margin ≤ 0.
    Source: OpenReview Pjcz6ik78E, with the proof repaired by Wedin (1972), doi:10.1007/BF01932678.

    >>> bool(sl.bounds.lemma_4_1(data.X, 1e-3 * noisy.noise, 6, margin=0.1).holds)
    True
    """
    S, Z = check.matrices("shape", clean=clean, noise=noise)
    r = check.rank_within(rank, S, "clean")
    epsilon = positive_margin(margin, clean=S)
    (S, Z), eps = in_double(S, Z)
    gap, error = layer_of(S, Z, S.new_ones(1, S.shape[-2]), r, eps).noise()
    bound, terms = (2 * r) ** 0.5 * divide(error, gap), {"‖Z‖": error}
    return Certificate(
        "The paper's Lemma 4.1", "‖P(X*) − P(X)‖", gap, kappa(r, epsilon) * error, bound, terms
    )


def lemma_4_2(
    clean: Tensor, noise: Tensor, W: Tensor, rank: int, margin: Tensor | float
) -> Certificate:
    """The paper's Lemma 4.2 with noise: ‖P(X) − P(WX)‖_max < ε/4, through P(X*) = P(WX*).

    Needs δ₁ > κ ‖Z‖ and δ₂ > κ ‖WZ‖, κ = √(2⁷r)/ε, δ₂ = s_r(WX*) − s_{r+1}(WX). A positive δ₂
    implies rank(WX*) = r, which the printed rank(W) ≥ r does not. X* should have rank r; what it
    has beyond, ‖W‖ s_{r+1}(X*), is taken from δ₂ and added to ‖WZ‖, which makes the statement true
    of any X*. gap, threshold: of the worse link; bound: √(2r) (‖Z‖/δ₁ + ‖WZ‖/δ₂).
    clean, noise: (..., m, n); W: (..., p, m) → Certificate of shape (...). Errors and source as
    ``lemma_4_1``.

    >>> W = torch.eye(30).double()[:20]  # ten coordinates are lost
    >>> bool(sl.bounds.lemma_4_2(data.X, 1e-3 * noisy.noise, W, 6, margin=0.1).holds)
    True
    """
    S, Z = check.matrices("shape", clean=clean, noise=noise)
    (W,) = layer_weights(S, W)
    r = check.rank_within(rank, S, "clean")
    epsilon = positive_margin(margin, clean=S, W=W)
    (S, Z, W), eps = in_double(S, Z, W)
    layer = layer_of(S, Z, W, r, eps)
    gaps, errors = stacked(layer.noise(), layer.mixing())
    bound = (2 * r) ** 0.5 * divide(errors, gaps).sum(0)
    gap, threshold = _worst(gaps, kappa(r, epsilon) * errors)
    terms = {"δ1": gaps[0], "δ2": gaps[1], "‖Z‖": errors[0], "‖WZ‖": errors[1]}
    return Certificate("The paper's Lemma 4.2", "‖P(X) − P(WX)‖", gap, threshold, bound, terms)


def lemma_4_3(WX: Tensor, Y: Tensor, rank: int, margin: Tensor | float) -> Certificate:
    """The paper's Lemma 4.3: δ₃ > √(2⁷r) ‖Y − WX‖/ε ⇒ ‖P(Y) − P(WX)‖_max < ε/8.

    δ₃ = s_r(Y) − s_{r+1}(WX). Y need not be an activation of WX: any matrix of that shape will do.
    bound: √(2r) ‖Y − WX‖/δ₃. WX, Y: (..., p, n) → Certificate of shape (...). Errors and source as
    ``lemma_4_1``.

    >>> bool(sl.bounds.lemma_4_3(data.X, data.X + 1e-6, 6, margin=0.1).holds)
    True
    """
    A, Y = check.matrices("shape", WX=WX, Y=Y)
    r = check.rank_within(rank, Y, "Y")
    epsilon = positive_margin(margin, WX=A, Y=Y)
    (A, Y), eps = in_double(A, Y)
    unit = unit_exponent(A, Y)
    A, Y = (shifted(M, -unit[..., None, None]) for M in (A, Y))
    gap, error = link(Y, A, Y - A, r, eps)
    gap, error = outward(gap, unit, False), outward(error, unit, True)
    bound, terms = (2 * r) ** 0.5 * divide(error, gap), {"‖Y − WX‖": error}
    return Certificate(
        "The paper's Lemma 4.3", "‖P(Y) − P(WX)‖", gap, kappa(r, epsilon) * error, bound, terms
    )


def _worst(gaps: Tensor, thresholds: Tensor) -> Pair:
    """Gap and threshold of the link that is furthest from holding; (links, ...) → (...)."""
    worst = (gaps / thresholds).argmin(0, keepdim=True)
    return gaps.gather(0, worst)[0], thresholds.gather(0, worst)[0]


def theorem_3_1(
    clean: Tensor,
    noise: Tensor,
    W: Tensor,
    Y: Tensor,
    rank: int,
    margin: Tensor | float,
    form: str = "printed",
) -> Certificate:
    """The paper's theorem: ‖P(X*) − P(Y)‖_max < ε/2 for Y = σ(W X), X = X* + Z.

    Links i = 1, 2, 3 have gaps δ₁ = s_r(X*) − s_{r+1}(X), δ₂ = s_r(WX*) − s_{r+1}(WX),
    δ₃ = s_r(Y) − s_{r+1}(WX) and errors ‖Z‖, ‖WZ‖, ‖Y − WX‖; κ = √(2⁷ r)/ε.
      "printed": min δ_i > κ · max error (changes when W is rescaled, although P(Y) does not)
      "links":   δ_i > κ · its own error for every i; gap and threshold of the worst link
      "two-links": ‖WZ‖/δ₂ + ‖Y − WX‖/δ₃ < ε/2 in the spectral norm, because P(X*) = P(WX*):
                 the first link, the factor √r and the √2 are not needed
    bound: Σ over the links used of the Wedin bounds on ‖P − P'‖ (Frobenius for the first two
    forms, where the first link is walked twice), ∞ where a gap is not positive. Gaps and errors
    in the terms contain an allowance for rounding, and link 2 what X* has beyond rank r, as in
    ``lemma_4_2``, both against the certificate.
    clean, noise: (..., m, n); W: (..., p, m); Y: (..., p, n); margin: ε, (...) → (...).
    Raises ValueError for shapes that do not fit or margin ≤ 0. Source: OpenReview Pjcz6ik78E.

    >>> W, Z = torch.eye(30).double(), 1e-3 * noisy.noise
    >>> [sl.bounds.theorem_3_1(data.X, Z, W, sigma(data.X + Z), 6, margin=0.1).holds.item()
    ...  for sigma in (torch.relu, lambda A: A)]
    [False, True]
    """
    check.one_of(form, CHAIN_FORMS, "form")
    S, Z = check.matrices("shape", clean=clean, noise=noise)
    W, Y = layer_weights(S, W, Y)
    r = check.rank_within(rank, S, "clean")
    epsilon = positive_margin(margin, clean=S, W=W, Y=Y)
    (S, Z, W, Y), eps = in_double(S, Z, W, Y)
    layer = layer_of(S, Z, W, r, eps)
    gaps, errors = stacked(layer.noise(), layer.mixing(), layer.bend(Y))
    return chain_verdict(gaps, errors, r, epsilon, form)


CHAIN_FORMS = ("printed", "links", "two-links")


def chain_verdict(
    gaps: Tensor, errors: Tensor, rank: int, margin: Tensor, form: str
) -> Certificate:
    """The verdict of ``theorem_3_1`` from the three gaps and errors, each (3, ...)."""
    names = ("‖Z‖", "‖WZ‖", "‖Y − WX‖")
    terms = {f"δ{i + 1}": gaps[i] for i in range(3)} | dict(zip(names, errors, strict=True))
    if form == "two-links":
        gap, threshold, bound = _sum_verdict(gaps[1:], errors[1:], margin)
    else:
        parts, factor = (2 * rank) ** 0.5 * divide(errors, gaps), kappa(rank, margin)
        bound = 2 * parts[0] + parts[1] + parts[2]
        if form == "printed":
            gap, threshold = gaps.amin(0), factor * errors.amax(0)
        else:
            gap, threshold = _worst(gaps, factor * errors)
    name = f"The paper's Theorem 3.1, {form}"
    return Certificate(name, "‖P(X*) − P(Y)‖", gap, threshold, bound, terms)


def _sum_verdict(gaps: Tensor, errors: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gap, threshold and bound of "Σ error/gap < ε/2" over links (links, ...).

    One gap stands for all of them: Σ error / bound, the mean gap weighted so that gap > threshold
    says bound < ε/2. Where a gap is not positive it is the smallest one.
    """
    bound, total = divide(errors, gaps).sum(0), errors.sum(0)
    mean = total / bound.clamp(min=torch.finfo(bound.dtype).tiny)
    gap = torch.where((gaps > 0).all(0), mean, gaps.amin(0))
    return gap, 2 / epsilon * total, bound


DEPTH_FORMS = ("links", "sum")


def depth_corollary(
    clean: Tensor,
    noise: Tensor,
    layers: Sequence[Pair],
    rank: int,
    margin: Tensor | float,
    form: str = "links",
) -> Certificate:
    """The depth corollary: ‖P(X*) − P(Y_L)‖_max < ε/2 for Y_l = σ(W_l Y_{l−1}), Y_0 = X.

    Y*_0 = X*, Y*_l = rank-r truncation of Y_l, Z_l = Y_l − Y*_l. Each layer has two links:
      gap s_r(W_l Y*_{l−1}) − s_{r+1}(W_l Y_{l−1}), error ‖W_l Z_{l−1}‖
      gap s_r(Y_l) − s_{r+1}(W_l Y_{l−1}),          error ‖Y_l − W_l Y_{l−1}‖
      "links": every gap > (4L/ε) · its own error; gap and threshold of the worst link
      "sum":   Σ error/gap < ε/2, which the first form implies
    bound: Σ error/gap, in both forms, on the spectral norm; ∞ where a gap is not positive. What X*
    has beyond rank r counts as in ``lemma_4_2``.
    clean, noise: (..., m, n); layers: pairs (W_l (..., p_l, p_{l−1}), Y_l (..., p_l, n)), first
    layer first; margin: ε → Certificate of shape (...), its terms the gap and error of every link.
    Raises ValueError for no layers, shapes that do not fit or margin ≤ 0.

    >>> W, Z = torch.eye(30).double(), 1e-3 * noisy.noise
    >>> layers = [(W, data.X + Z), (W, data.X + Z)]  # two that change nothing
    >>> bool(sl.bounds.depth_corollary(data.X, Z, layers, 6, margin=0.1).holds)
    True
    """
    check.one_of(form, DEPTH_FORMS, "form")
    S, Z = check.matrices("shape", clean=clean, noise=noise)
    r = check.rank_within(rank, S, "clean")
    gaps, errors = depth_links(S, Z, layers, r)
    epsilon = positive_margin(margin, clean=gaps[0, ..., None, None])
    L, distance = len(layers), f"‖P(X*) − P(Y_{len(layers)})‖"
    terms: dict[str, Tensor] = {}
    for i, (gap, error) in enumerate(zip(gaps, errors, strict=True)):
        name = f"{'WZ' if i % 2 == 0 else 'σ'}, layer {i // 2 + 1}"
        terms |= {f"gap ({name})": gap, f"error ({name})": error}
    gap, threshold, bound = _sum_verdict(gaps, errors, epsilon)
    if form == "links":
        gap, threshold = _worst(gaps, 4 * L / epsilon * errors)
    return Certificate(f"Depth corollary, {form}", distance, gap, threshold, bound, terms)


def depth_links(S: Tensor, Z: Tensor, layers: Sequence[Pair], r: int) -> Pair:
    """Gaps and errors of the 2L links of ``depth_corollary``, each (2L, ...).

    The truncation is computed, hence rounded: it moves P(Y_l) by some eps ‖Y_l‖ over its gap, which
    the allowance of the link that produced Y_l (many eps ‖Y_l‖, over a similar gap) contains.
    """
    if not isinstance(layers, Sequence) or not layers or any(len(pair) != 2 for pair in layers):
        raise ValueError("layers is empty or no list of pairs (W_l, Y_l), the first layer first")
    (signal, rest), eps = in_double(S, Z)
    links = []
    for number, (weights, output) in enumerate(layers, start=1):
        W, Y = layer_weights(signal, weights, output, names=(f"W_{number}", f"Y_{number}"))
        (W, Y), coarser = in_double(W, Y)
        eps = max(eps, coarser)
        layer = layer_of(signal, rest, W, r, eps)
        links += [layer.mixing(), layer.bend(Y)]
        signal = truncate(Y, r)
        rest = Y - signal
    return stacked(*links)


def truncate(Y: Tensor, rank: int) -> Tensor:
    """The nearest matrix of rank r (Eckart and Young): the r leading singular triples of Y."""
    U, s, Vh = torch.linalg.svd(Y, full_matrices=False)
    return (U[..., :rank] * s[..., None, :rank]) @ Vh[..., :rank, :]

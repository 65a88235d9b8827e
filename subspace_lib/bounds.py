"""Perturbation bounds for row spaces, each evaluated as a certificate.

A certificate keeps the terms of its bound and derives its verdict from them. A gap that is not
positive is a verdict ("vacuous", bound = ∞), never an exception.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import _palette as palette

INF = float("inf")
WEDIN_FORMS = ("spectral", "fro", "one-sided")


@dataclass(frozen=True, repr=False)
class Certificate:
    """What a bound needs, what it found, and what follows. All tensors have the batch shape (...).

    gap: the spectral gap. threshold: what the gap must exceed for the statement to apply.
    bound: on the distance named in ``quantity``; ∞ where the gap is not positive.
    terms: the named numbers that went in.
    holds: gap > threshold. verdict: "holds", "fails" or, for a gap ≤ 0, "vacuous".
    """

    statement: str
    quantity: str
    gap: Tensor
    threshold: Tensor
    bound: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)

    @property
    def holds(self) -> Tensor:
        return (self.gap > 0) & (self.gap > self.threshold)

    @property
    def verdict(self) -> Any:
        """A word, or nested lists of words for a batch."""
        return _words(self.gap, self.holds)

    @property
    def share(self) -> float:
        """Share of the batch for which the certificate holds."""
        return float(self.holds.double().mean())

    def rows(self) -> list[tuple[str, str]]:
        """Name and printed value of every term; a batch shows its median and range."""
        named = {**self.terms, "gap": self.gap, "threshold": self.threshold, "bound": self.bound}
        return [(name, _shown(value)) for name, value in named.items()]

    def summary(self) -> str:
        if self.gap.ndim == 0:
            return str(self.verdict)
        return f"holds in {int(self.holds.sum())} of {self.holds.numel()}"

    def __repr__(self) -> str:
        rows = [*self.rows(), ("verdict", self.summary())]
        width = max(len(name) for name, _ in rows)
        body = "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
        return f"{self.statement}: {self.quantity}\n{body}"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in [*self.rows(), ("verdict", self.summary())]
        )
        title = html.escape(f"{self.statement}: {self.quantity}")
        return f"<table class='certificate'><caption>{title}</caption>{cells}</table>"

    def plot(self, ax: Any = None) -> Any:
        """Terms as bars against the gap, medians over a batch; returns the axes."""
        import matplotlib.pyplot as plt  # here, so that bounds can be used without a display

        ax = plt.subplots(figsize=(6, 2.6))[1] if ax is None else ax
        named = {**self.terms, "threshold": self.threshold, "gap": self.gap}
        values = [float(_median(v)) for v in named.values()]
        colours = [palette.NOISE] * len(self.terms) + [palette.BOUND, palette.NETWORK]
        ax.barh(list(named), values, color=colours)
        ax.axvline(float(_median(self.gap)), color=palette.THEORY, linestyle="--")
        ax.set_xscale("symlog", linthresh=1e-3)
        ax.set_xlabel("value (dashed: the gap)")
        ax.set_title(f"{self.statement}: {self.summary()}")
        return ax


def _median(value: Tensor) -> Tensor:
    return value.double().flatten().quantile(0.5, interpolation="lower")


def _shown(value: Tensor) -> str:
    if value.ndim == 0:
        return f"{float(value):.4g}"
    return f"{float(_median(value)):.4g}  [{float(value.min()):.3g}, {float(value.max()):.3g}]"


def _words(gap: Tensor, holds: Tensor) -> Any:
    if gap.ndim:
        return [_words(g, h) for g, h in zip(gap, holds, strict=True)]
    return "vacuous" if gap <= 0 else "holds" if holds else "fails"


def rounding_allowance(*matrices: Tensor) -> Tensor:
    """Absolute error that floating point may leave in a singular value or a norm.

    10 · max(m, n) · eps · the largest spectral norm involved: backward stability of the SVD.
    """
    scale = torch.stack(torch.broadcast_tensors(*(_top(A) for A in matrices))).amax(0)
    size = max(max(A.shape[-2:]) for A in matrices)
    return 10 * size * torch.finfo(matrices[0].dtype).eps * scale


def _top(A: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(A, 2)


def singular_value(A: Tensor, index: int) -> Tensor:
    """s_index(A), counted from 1, with s_j := 0 beyond min(m, n). A: (..., m, n) → (...)."""
    s = torch.linalg.svdvals(A)
    return s[..., index - 1] if index <= s.shape[-1] else torch.zeros_like(s[..., 0])


@check.numpy_in_numpy_out
def spectral_gap(A: Tensor, B: Tensor, rank: int) -> Tensor:
    """δ = s_r(A) − s_{r+1}(B), the gap between A's leading and B's trailing singular values.

    A: (..., m, n), B: (..., p, n). Returns (...); s_j := 0 beyond min(m, n). May be ≤ 0: then no
    bound of this kind says anything.
    """
    A, B = check.matrix(A, "A"), check.matrix(B, "B")
    check.same_columns(A, B)
    r = check.rank_within(rank, A)
    return singular_value(A, r) - singular_value(B, r + 1)


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
    """
    check.one_of(form, WEDIN_FORMS, "form")
    A, B = check.matrix(A, "A"), check.matrix(B, "B")
    check.same_shape(A, B)
    check.same_columns(A, B)
    r = check.rank_within(rank, A)
    E, slack = B - A, rounding_allowance(A, B)
    gap = spectral_gap(A, B, r)
    if form == "one-sided":
        U, _, Vh = torch.linalg.svd(A, full_matrices=False)
        right = _top(E @ Vh[..., :r, :].mT)
        left = _top(E.mT @ U[..., :r])
        terms = {"‖E V₁‖": right, "‖Eᵀ U₁‖": left}
        error = torch.maximum(right, left)
    else:
        error = _top(E)
        terms = {"‖E‖": error}
    factor = r**0.5 if form == "fro" else 1.0
    quantity = "‖sin Θ‖_F" if form == "fro" else "‖sin Θ‖"
    bound = divide(factor * (error + slack), gap - slack)
    # The Frobenius norm of r sines is at most √r anyway: useful below that, as ‖sin Θ‖ below 1.
    return Certificate(f"Wedin, {form}", quantity, gap, error + 2 * slack, bound, terms)


def divide(numerator: Tensor, gap: Tensor) -> Tensor:
    """numerator / gap where the gap is positive, ∞ elsewhere."""
    safe = torch.where(gap > 0, gap, torch.ones_like(gap))
    return torch.where(gap > 0, numerator / safe, torch.full_like(numerator / safe, INF))


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
    forms, where WX enters twice), ∞ where a gap is not positive.
    clean, noise: (..., m, n); W: (..., p, m); Y: (..., p, n); margin: ε, (...) → (...).
    Raises ValueError for shapes that do not fit or margin ≤ 0. Source: OpenReview Pjcz6ik78E.
    """
    check.one_of(form, CHAIN_FORMS, "form")
    S, Z = check.matrix(clean, "clean"), check.matrix(noise, "noise")
    W, Y = check.matrix(W, "W"), check.matrix(Y, "Y")
    check.same_shape(S, Z, ("clean", "noise"))
    check.same_columns(S, Y, ("clean", "Y"))
    if W.shape[-1] != S.shape[-2] or W.shape[-2] != Y.shape[-2]:
        raise ValueError(
            f"W must be ({Y.shape[-2]}, {S.shape[-2]}) to map clean {tuple(S.shape)} to Y "
            f"{tuple(Y.shape)}, got {tuple(W.shape)}; pass the weights that produced Y"
        )
    r = check.rank_within(rank, S, "clean")
    epsilon = torch.as_tensor(margin, dtype=S.dtype, device=S.device)
    if not (epsilon > 0).all():
        raise ValueError(f"margin must be positive, got {float(epsilon.min()):.3g}; see margins")
    X, WX = S + Z, W @ (S + Z)
    pairs = ((S, X, Z), (W @ S, WX, W @ Z), (Y, WX, Y - WX))
    slack = torch.stack([rounding_allowance(A, B) for A, B, _ in pairs])
    gaps = torch.stack([spectral_gap(A, B, r) for A, B, _ in pairs]) - slack
    errors = torch.stack([_top(E) for *_, E in pairs]) + slack
    return _chain(form, gaps, errors, r, epsilon)


CHAIN_FORMS = ("printed", "links", "two-links")


def _chain(form: str, gaps: Tensor, errors: Tensor, r: int, epsilon: Tensor) -> Certificate:
    """Verdict of the chain from its gaps and errors, each (3, ...)."""
    names = ("‖Z‖", "‖WZ‖", "‖Y − WX‖")
    terms = {f"δ{i + 1}": gaps[i] for i in range(3)} | dict(zip(names, errors, strict=True))
    distance = "‖P(X*) − P(Y)‖"
    if form == "two-links":
        parts = divide(errors[1:], gaps[1:])
        needed = 2 / epsilon * errors[1:].sum(0)
        # one number for the pair of links: both gaps exceed it ⇒ the sum is below ε/2
        bound = parts.sum(0)
        gap = torch.where(
            (gaps[1:] > 0).all(0), errors[1:].sum(0) / bound.clamp(min=1e-300), gaps[1:].amin(0)
        )
        return Certificate("Theorem 3.1, two links", distance, gap, needed, bound, terms)
    parts = (2 * r) ** 0.5 * divide(errors, gaps)
    bound = 2 * parts[0] + parts[1] + parts[2]
    factor = (128 * r) ** 0.5 / epsilon
    if form == "printed":
        gap, threshold = gaps.amin(0), factor * errors.amax(0)
        return Certificate("Theorem 3.1, as printed", distance, gap, threshold, bound, terms)
    worst = (gaps / (factor * errors)).argmin(0, keepdim=True)
    gap = gaps.gather(0, worst)[0]
    threshold = (factor * errors).gather(0, worst)[0]
    return Certificate("Theorem 3.1, link by link", distance, gap, threshold, bound, terms)

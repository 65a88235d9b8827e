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

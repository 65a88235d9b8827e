"""What a bound needs, what it found, and what follows."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from subspace_lib import _palette as palette

INF = float("inf")


@dataclass(frozen=True, repr=False)
class Certificate:
    """What a bound needs, what it found, and what follows. All tensors have the batch shape (...).

    gap: the spectral gap. threshold: what the gap must exceed for the statement to apply.
    bound: on the distance named in ``quantity``; ∞ where the gap is not positive.
    terms: the named numbers that went in.
    holds: gap > threshold. verdict: "certifies" where it holds, "no gap" for a gap ≤ 0, "silent"
    in between: the statement is true and says nothing.

    >>> twice = torch.stack([noisy.X, data.X + noisy.X])
    >>> sl.wedin_bound(data.X.expand(2, -1, -1), twice, rank=6).holds
    tensor([ True, False])
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

    def rows(self) -> list[tuple[str, str]]:
        """Name and printed value of every term; a batch shows its median and range."""
        named = {**self.terms, "gap": self.gap, "threshold": self.threshold, "bound": self.bound}
        return [(name, _shown(value)) for name, value in named.items()]

    def summary(self) -> str:
        if self.gap.ndim == 0:
            return str(self.verdict)
        return f"certifies in {int(self.holds.sum())} of {self.holds.numel()}"

    def __repr__(self) -> str:
        rows = [*self.rows(), ("verdict", self.summary())]
        width = max(len(name) for name, _ in rows)
        body = "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
        return f"{self.statement}: {self.quantity}\n{body}"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row'>{_indexed(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in [*self.rows(), ("verdict", self.summary())]
        )
        title = _indexed(f"{self.statement}: {self.quantity}")
        return f"<table class='certificate'><caption>{title}</caption>{cells}</table>"

    def plot(self, ax: Any = None) -> Any:
        """Terms as bars against the gap, medians over a batch; returns the axes."""
        import matplotlib.pyplot as plt  # here, so that bounds can be used without a display

        ax = plt.subplots(figsize=(6, 2.6))[1] if ax is None else ax
        named = {**self.terms, "threshold": self.threshold, "gap": self.gap}
        values = [float(_median(v)) for v in named.values()]
        colours = [palette.NOISE] * len(self.terms) + [palette.MARGIN, palette.NETWORK]
        ax.barh(list(named), values, color=colours)
        ax.axvline(float(_median(self.gap)), color=palette.THEORY, linestyle="--")
        ax.set_xscale("symlog", linthresh=1e-3)
        ax.set_xlabel("value (dashed: the gap)")
        ax.set_title(f"{self.statement}: {self.summary()}")
        return ax


def _indexed(text: str) -> str:
    """Markup of a formula in plain signs: s_{q+1}(Y) gets a subscript."""
    return re.sub(r"_(?:\{(.+?)\}|(\w+))", r"<sub>\1\2</sub>", html.escape(text))


def _median(value: Tensor) -> Tensor:
    return value.double().flatten().quantile(0.5, interpolation="lower")


def _shown(value: Tensor) -> str:
    if value.ndim == 0:
        return f"{float(value):.4g}"
    return f"{float(_median(value)):.4g}  [{float(value.min()):.3g}, {float(value.max()):.3g}]"


def _words(gap: Tensor, holds: Tensor) -> Any:
    if gap.ndim:
        return [_words(g, h) for g, h in zip(gap, holds, strict=True)]
    return "no gap" if gap <= 0 else "certifies" if holds else "silent"

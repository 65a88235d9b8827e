"""Drawing on the caller's axes, in one style."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from subspace_lib._palette import (  # noqa: F401
    BOOK,
    BOUND,
    CLUSTERS,
    MARGIN,
    MEANINGS,
    NETWORK,
    NOISE,
    PAPER,
    SECOND,
    SIGNAL,
    THEORY,
    TRUTH,
)


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def plot_projector(
    P: Any,
    labels: Any = None,
    *,
    ax: Axes | None = None,
    vmax: float | None = None,
    title: str = "",
) -> Axes:
    """Heat map of P (n, n), clusters in order and marked, diverging colours centred on zero.

    >>> ax = sl.figures.plot_projector(sl.row_projector(noisy.X, 6), data.labels)
    """
    ax, P = _axes(ax), _numpy(P)
    edges: np.ndarray = np.zeros(0)
    if labels is not None:
        y = _numpy(labels)
        order = np.argsort(y, kind="stable")
        P, edges = P[np.ix_(order, order)], np.flatnonzero(np.diff(y[order])) + 0.5
    limit = vmax or float(np.quantile(np.abs(P), 0.995)) or 1.0
    ax.imshow(P, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    for edge in edges:  # where one cluster ends and the next begins
        ax.axhline(edge, color="black", linewidth=0.6)
        ax.axvline(edge, color="black", linewidth=0.6)
    ax.set(title=title, xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(True)
    return ax


def plot_spectrum(
    spectra: dict[str, Any], *, rank: int | None = None, ax: Axes | None = None
) -> Axes:
    """Singular values against their index; ``rank`` is marked by a dashed line."""
    ax = _axes(ax)
    colours = {"signal": SIGNAL, "noise": NOISE, "noisy": NETWORK}
    for name, values in spectra.items():
        s = _numpy(values)
        looks: dict[str, Any] = {"markersize": 4, "linewidth": 1, "color": colours.get(name)}
        ax.plot(np.arange(1, len(s) + 1), s, ".-", label=name, **looks)
    if rank is not None:
        ax.axvline(rank + 0.5, color=THEORY, linestyle="--", linewidth=1)
    ax.set(xlabel="index $j$", ylabel="singular value $s_j$", yscale="log")
    ax.legend()
    return ax


def plot_bands(
    x: Any,
    values: Any,
    *,
    ax: Axes | None = None,
    label: str = "",
    color: str = NETWORK,
) -> Axes:
    """Median over trials, and the band between their deciles. values: (points, trials)."""
    ax = _axes(ax)
    low, middle, high = np.quantile(_numpy(values), (0.1, 0.5, 0.9), axis=1)
    ax.plot(x, middle, color=color, label=label)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    return ax

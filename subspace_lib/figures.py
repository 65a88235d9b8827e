"""Drawing on the caller's axes, in one style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from subspace_lib._palette import BOUND, CLUSTERS, NETWORK, NOISE, SECOND, SIGNAL, THEORY  # noqa: F401
from subspace_lib.clustering import connectivity_margin, minimum_margin


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def block_edges(labels: Any) -> np.ndarray:
    """Where one cluster ends and the next begins, for labels in sorted order."""
    return np.flatnonzero(np.diff(np.sort(_numpy(labels)))) + 1


def plot_projector(
    P: Any,
    labels: Any = None,
    *,
    ax: Axes | None = None,
    vmax: float | None = None,
    title: str = "",
    colorbar: bool = False,
) -> Axes:
    """Heat map of P (n, n), clusters in order and marked, diverging colours centred on zero.

    >>> ax = sl.figures.plot_projector(sl.row_projector(noisy.X, 6), data.labels)
    """
    ax, P = _axes(ax), _numpy(P)
    if labels is not None:
        order = np.argsort(_numpy(labels), kind="stable")
        P = P[np.ix_(order, order)]
    limit = vmax or float(np.quantile(np.abs(P), 0.995)) or 1.0
    image = ax.imshow(P, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    for edge in block_edges(labels) if labels is not None else []:
        ax.axhline(edge - 0.5, color="black", linewidth=0.6)
        ax.axvline(edge - 0.5, color="black", linewidth=0.6)
    ax.set(title=title, xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(True)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def plot_spectrum(
    spectra: dict[str, Any], *, rank: int | None = None, ax: Axes | None = None, log: bool = True
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
    if log:
        ax.set_yscale("log")
    ax.set(xlabel="index $j$", ylabel="singular value $s_j$")
    ax.legend()
    return ax


def plot_bands(
    x: Any,
    values: Any,
    *,
    ax: Axes | None = None,
    label: str = "",
    color: str = NETWORK,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> Axes:
    """Median over trials with a quantile band. values: (points, trials)."""
    ax, values = _axes(ax), _numpy(values)
    low, middle, high = np.quantile(values, (quantiles[0], 0.5, quantiles[1]), axis=1)
    ax.plot(x, middle, color=color, label=label)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    return ax


def plot_points_3d(X: Any, labels: Any, *, ax: Any, size: float = 10) -> Any:
    """Points of R³ (3, n), coloured by cluster, on axes with projection="3d"."""
    X, y = _numpy(X), _numpy(labels)
    for k in np.unique(y):
        ax.scatter(*X[:, y == k], s=size, color=CLUSTERS[k % len(CLUSTERS)], depthshade=False)
    ax.set(xticklabels=[], yticklabels=[], zticklabels=[])
    return ax


def plot_margins(P: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
    """Sizes of the entries inside clusters, with ε_min and ε_conn marked."""
    ax, y = _axes(ax), _numpy(labels)
    tensor = torch.as_tensor(_numpy(P))
    size = tensor.abs().numpy()
    inside = size[(y[:, None] == y[None, :]) & ~np.eye(len(y), dtype=bool)]
    inside = inside[inside > 1e-12]
    bins = np.geomspace(inside.min(), inside.max(), 60).tolist()
    ax.hist(inside, bins=bins, color=SIGNAL, alpha=0.7)
    marks = {"ε_min": minimum_margin(tensor, y), "ε_conn": connectivity_margin(tensor, y)}
    for (name, value), style in zip(marks.items(), ("-", "--"), strict=True):
        ax.axvline(float(value), color=BOUND, linestyle=style, label=f"{name} = {float(value):.2g}")
    ax.set(xscale="log", xlabel="size of an entry inside a cluster", ylabel="count")
    ax.legend(loc="upper left")
    return ax


def plot_threshold_graph(
    Q: Any, labels: Any, threshold: float, *, ax: Axes | None = None, seed: int = 0
) -> Axes:
    """The graph {|Q_ij| > threshold}: clusters as clouds, wrong edges in the bound's colour."""
    ax, size, y = _axes(ax), np.abs(_numpy(Q)), _numpy(labels)
    rng = np.random.default_rng(seed)  # positions only; the graph does not depend on them
    angle = 2 * np.pi * y / (y.max() + 1)
    spot = np.stack([np.cos(angle), np.sin(angle)]) + 0.25 * rng.standard_normal((2, len(y)))
    right, wrong = {"color": NOISE, "alpha": 0.4}, {"color": BOUND, "alpha": 0.9}
    for i, j in zip(*np.nonzero(np.triu(size > threshold, 1)), strict=True):
        looks: dict[str, Any] = right if y[i] == y[j] else wrong
        width = 0.5 if y[i] == y[j] else 1
        ax.plot(spot[0, [i, j]], spot[1, [i, j]], linewidth=width, zorder=1, **looks)
    ax.scatter(spot[0], spot[1], c=[CLUSTERS[k % len(CLUSTERS)] for k in y], s=18, zorder=2)
    ax.set_axis_off()
    return ax


def plot_chain(*, ax: Axes | None = None) -> Axes:
    """The chain X* → X → WX → Y with what disturbs the row space on each link."""
    ax = plt.subplots(figsize=(7.0, 1.9))[1] if ax is None else ax
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    names = ("$X^\\ast$", "$X$", "$WX$", "$Y$")
    notes = ("clean", "noisy", "mixed", "activated")
    links = ("noise $Z$", "weights $W$", "activation $\\sigma$")
    for i, (name, note) in enumerate(zip(names, notes, strict=True)):
        box = {"boxstyle": "round,pad=0.45", "fc": NETWORK if i else SIGNAL, "ec": "none"}
        ax.text(i, 0, name, fontsize=17, color="white", bbox=box, **centred)
        ax.text(i, -0.62, note, fontsize=10.5, **centred)
    for i, link in enumerate(links):
        ax.annotate("", (i + 0.72, 0), (i + 0.28, 0), arrowprops={"arrowstyle": "-|>", "lw": 2})
        ax.text(i + 0.5, 0.42, link, fontsize=11, color=BOUND, **centred)
    ax.set(xlim=(-0.5, 3.5), ylim=(-0.95, 0.75))
    ax.set_axis_off()
    return ax


def plot_sorted(values: Sequence[float], *, ax: Axes | None = None, label: str = "") -> Axes:
    """Empirical distribution: share of values up to x."""
    ax, x = _axes(ax), np.sort(_numpy(values).reshape(-1))
    ax.plot(x, np.arange(1, len(x) + 1) / len(x), label=label)
    ax.set(ylabel="share of instances", ylim=(0, 1.02))
    return ax

"""Drawings that one chapter needs, on the caller's axes; what several use is in the library."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from page.budget import plot_budget  # noqa: F401 - page.plot_budget
from subspace_lib.figures import (
    CLUSTERS,
    MARGIN,
    NETWORK,
    NOISE,
    PAPER,
    TRUTH,
    plot_projector,
)


def plot_points_3d(X: Any, labels: Any, *, ax: Any) -> Any:
    """Points of R³ (3, n), coloured by cluster, on axes with projection="3d"."""
    X, y = np.asarray(X), np.asarray(labels)
    for k in np.unique(y):
        ax.scatter(*X[:, y == k], s=10, color=CLUSTERS[k % len(CLUSTERS)], depthshade=False)
    ax.set(xticklabels=[], yticklabels=[], zticklabels=[])
    return ax


def plot_margins(P: Any, labels: Any, margins: Mapping[str, Any], *, ax: Axes) -> Axes:
    """Sizes of the entries inside clusters, and lines at one or two margins by name."""
    size, y = np.abs(np.asarray(P)), np.asarray(labels)
    inside = size[(y[:, None] == y[None, :]) & ~np.eye(len(y), dtype=bool)]
    inside = inside[inside > 1e-12]
    bins = np.geomspace(inside.min(), inside.max(), 60).tolist()
    ax.hist(inside, bins=bins, color=TRUTH, alpha=0.7)
    for (name, value), style in zip(margins.items(), ("-", "--"), strict=False):
        ax.axvline(
            float(value), color=MARGIN, linestyle=style, label=f"{name} = {float(value):.2g}"
        )
    ax.set(xscale="log", xlabel="size of an entry inside a cluster", ylabel="count")
    ax.legend(loc="upper left")
    return ax


def plot_threshold_graph(Q: Any, labels: Any, threshold: float, *, ax: Axes) -> Axes:
    """The graph {|Q_ij| > threshold}: clusters as clouds, wrong edges in vermilion."""
    size, y = np.abs(np.asarray(Q)), np.asarray(labels)
    rng = np.random.default_rng(0)  # positions only; the graph does not depend on them
    angle = 2 * np.pi * y / (y.max() + 1)
    spot = np.stack([np.cos(angle), np.sin(angle)]) + 0.25 * rng.standard_normal((2, len(y)))
    right, wrong = {"color": NOISE, "alpha": 0.4}, {"color": PAPER, "alpha": 0.9}
    for i, j in zip(*np.nonzero(np.triu(size > threshold, 1)), strict=True):
        looks: dict[str, Any] = right if y[i] == y[j] else wrong
        width = 0.5 if y[i] == y[j] else 1
        ax.plot(spot[0, [i, j]], spot[1, [i, j]], linewidth=width, zorder=1, **looks)
    ax.scatter(spot[0], spot[1], c=[CLUSTERS[k % len(CLUSTERS)] for k in y], s=18, zorder=2)
    ax.set_axis_off()
    return ax


def plot_chain(*, ax: Axes) -> Axes:
    """The chain X* → X → WX → Y with what disturbs the row space on each link."""
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    names = ("$X^\\ast$", "$X$", "$WX$", "$Y$")
    notes = ("clean", "noisy", "mixed", "activated")
    links = ("noise $Z$", "weights $W$", "activation $\\sigma$")
    for i, (name, note) in enumerate(zip(names, notes, strict=True)):
        box = {"boxstyle": "round,pad=0.45", "fc": NETWORK if i else TRUTH, "ec": "none"}
        ax.text(i, 0, name, fontsize=17, color="white", bbox=box, **centred)
        ax.text(i, -0.62, note, fontsize=10.5, **centred)
    for i, link in enumerate(links):
        ax.annotate("", (i + 0.72, 0), (i + 0.28, 0), arrowprops={"arrowstyle": "-|>", "lw": 2})
        ax.text(i + 0.5, 0.42, link, fontsize=11, **centred)
    ax.set(xlim=(-0.5, 3.5), ylim=(-0.95, 0.75))
    ax.set_axis_off()
    return ax


def plot_sorted(values: Any, *, ax: Axes, label: str) -> Axes:
    """Empirical distribution: share of values up to x."""
    x = np.sort(np.asarray(values).reshape(-1))
    ax.plot(x, np.arange(1, len(x) + 1) / len(x), label=label)
    ax.set(ylabel="share of instances", ylim=(0, 1.02))
    return ax


def plot_sines(sines: Any, *, ax: Axes, title: str = "") -> Axes:
    """The r sines of the angles between two row spaces, largest first: what a heat map hides.

    One full bar beside short ones is one exchanged direction; all short, a preserved row space.
    """
    s = np.sort(np.asarray(sines, dtype=float).reshape(-1))[::-1]
    place = np.arange(1, len(s) + 1)
    ax.barh(place, np.ones(len(s)), height=0.72, color=NOISE, alpha=0.15)
    ax.barh(place, s, height=0.72, color=NETWORK)
    step = max(1, len(s) // 4)
    ax.set(xlim=(0, 1), ylim=(len(s) + 0.6, 0.4), xticks=[0, 1], yticks=place[::step])
    ax.set(xlabel="sine", title=title)
    ax.tick_params(length=0)
    return ax


def plot_projector_sines(
    P: Any, labels: Any, sines: Any, *, axes: tuple[Axes, Axes], title: str = "", **options: Any
) -> tuple[Axes, Axes]:
    """The heat map of a projector and, beside it, its sines to the true one."""
    plot_projector(P, labels, ax=axes[0], title=title, **options)
    plot_sines(sines, ax=axes[1])
    return axes


def plot_names(*, ax: Axes, size: float = 10.5) -> Axes:
    """The name of each labelled line at its right end and in its colour, instead of a legend."""
    lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    ax.get_xlim(), ax.get_ylim()  # limits are found when they are asked for
    to_axes = ax.transData + ax.transAxes.inverted()
    points = [np.column_stack([np.asarray(d, float) for d in line.get_data()]) for line in lines]
    ends = [to_axes.transform(p[np.isfinite(p).all(1)][-1]) for p in points]
    height = ax.get_window_extent().height / ax.figure.dpi * 72
    gap = 1.2 * size / height
    places = np.clip([y for _, y in ends], 0, 1)
    order = np.argsort(places, kind="stable")
    for below, above in pairwise(order):  # apart, from the lowest up …
        places[above] = max(places[above], places[below] + gap)
    places -= max(0.0, max(places) - 1)  # … and inside
    for line, (x, _), y in zip(lines, ends, places, strict=True):
        colour = line.get_color()
        text: dict[str, Any] = {"color": colour, "fontsize": size, "va": "center"}
        ax.text(x + 0.02, y, str(line.get_label()), transform=ax.transAxes, **text)
    return ax

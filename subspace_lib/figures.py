"""Drawing on the caller's axes, in one style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.sparse import csr_matrix

from subspace_lib._palette import (  # noqa: F401
    BOOK,
    CLUSTERS,
    MARGIN,
    MEANINGS,
    NETWORK,
    NOISE,
    PAPER,
    THEORY,
    TRUTH,
)
from subspace_lib.clustering import leading_pairs


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


def plot_bands(
    x: Any, values: Any, *, ax: Axes | None = None, label: str = "", color: str = NETWORK
) -> Axes:
    """Median over trials, and the band between their deciles. values: (points, trials)."""
    ax = _axes(ax)
    low, middle, high = np.quantile(_numpy(values), (0.1, 0.5, 0.9), axis=1)
    ax.plot(x, middle, color=color, label=label)
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    return ax


PIXELS = 400  # of a drawn similarity matrix, whatever n is


@dataclass
class ClusteringDisplay:
    """What a fitted ``ProjectorClustering`` saw, in the manner of scikit-learn's displays.

    graph (n, n): sparse similarities; labels (n,); eigenvalues, falling, of the normalised graph:
    a gap after the K-th says that K clusters are there; embedding (n, 2): the two leading
    coordinates of the points among which k-means found the clusters. After ``plot``: axes_,
    figure_.

    >>> model = sl.ProjectorClustering(3, random_state=0).fit(noisy.X.T)
    >>> display = sl.figures.ClusteringDisplay.from_estimator(model)
    >>> len(display.axes_), bool((display.eigenvalues[:3] > 0.99).all())
    (3, True)
    """

    graph: csr_matrix
    labels: np.ndarray
    eigenvalues: np.ndarray
    embedding: np.ndarray

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, more: int = 4, axes: Any = None
    ) -> ClusteringDisplay:
        """Compute and draw; more: eigenvalues beyond the K-th. axes: three of them, or None."""
        from sklearn.decomposition import PCA  # slow to import
        from sklearn.preprocessing import normalize

        graph, labels = estimator.graph(), estimator.labels_[estimator.distinct_]
        count = min(estimator.n_clusters + more, len(labels) - 1)
        values, vectors = leading_pairs(graph, count, np.random.RandomState(0))
        points = normalize(vectors[:, -estimator.n_clusters :])
        embedding = PCA(min(2, points.shape[1])).fit_transform(points)
        return cls(graph, labels, values[::-1], embedding).plot(axes=axes)

    def plot(self, *, axes: Any = None) -> ClusteringDisplay:
        """Similarities in the order of the clusters, eigenvalues, and two coordinates."""
        self.axes_ = plt.subplots(1, 3, figsize=(10, 3.2))[1] if axes is None else axes
        left, middle, right = self.axes_
        self.figure_, K = left.figure, len(np.unique(self.labels))
        self._plot_graph(left)
        j = np.arange(1, len(self.eigenvalues) + 1)
        middle.plot(j, self.eigenvalues, "o", color=NETWORK, markersize=5)
        middle.axvline(K + 0.5, color=MARGIN, linestyle="--", linewidth=1)
        middle.set(xlabel="index $j$", ylabel="eigenvalue of the graph", title="gap after $K$?")
        x, y = self.embedding[:, 0], self.embedding[:, -1]
        for k, label in enumerate(np.unique(self.labels)):
            mine = self.labels == label
            right.scatter(x[mine], y[mine], s=8, color=CLUSTERS[k % len(CLUSTERS)])
        right.set(xticks=[], yticks=[], title="two coordinates")
        return self

    def _plot_graph(self, ax: Axes) -> None:
        """Mean over the pairs that share a pixel."""
        n = len(self.labels)
        size = min(n, PIXELS)
        place = np.empty(n, dtype=int)
        place[np.argsort(self.labels, kind="stable")] = np.arange(n) * size // n
        pairs, drawn = self.graph.tocoo(), np.zeros((size, size))
        np.add.at(drawn, (place[pairs.row], place[pairs.col]), pairs.data)
        labels = np.zeros(size, dtype=int)
        labels[place] = self.labels
        plot_projector(np.sqrt(drawn), labels, ax=ax, title="similarity, clusters in order")

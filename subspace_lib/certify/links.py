"""Pairs of points that certainly share a cluster, from a noisy matrix and what is known of its
noise: no clean data, no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib._random import generator
from subspace_lib.certify.cuts import uncut
from subspace_lib.certify.deterministic import allowance, entry_bounds
from subspace_lib.certify.entries import Graph
from subspace_lib.certify.gaussian import null_bounds
from subspace_lib.certify.noise import Spectrum
from subspace_lib.rowspace import balanced, singular_values

UNKNOWN = 0.2  # share of the level that the interval for an unknown deviation takes
DENSE = 4096  # points up to which links are a dense matrix
GUARD = 0.02  # white noise is refused at most so often: no part of the level, it costs links


@dataclass(frozen=True, repr=False)
class MustLinks:
    """Pairs certified to share a cluster, and what follows from them.

    links: (n, n) boolean, symmetric, False on the diagonal; dense of the kind of the input up to
    4,096 points, beyond a scipy.sparse matrix. components: (n,) labels of the parts of their graph.
    parts: how many there are, an upper bound for the number of clusters. reached: whether they
    number n_clusters, so that components are the clusters. level: probability that any link is
    wrong (0: none can be). deviation: (low, high) of the noise, given or estimated; None with a
    radius. refused: why the data contradict what is assumed (then there are no links), else "".
    """

    links: Any
    components: Any
    parts: int
    n_clusters: int | None
    level: float
    deviation: tuple[float, float] | None
    refused: str

    @property
    def reached(self) -> bool:
        return self.parts == self.n_clusters

    @property
    def labels(self) -> Any:
        """The clusters (n,) where they are reached, else None."""
        return self.components if self.reached else None

    def __repr__(self) -> str:
        if self.refused:
            return f"MustLinks(refused: {self.refused})"
        wanted = f" of {self.n_clusters} clusters" if self.n_clusters else ""
        count = int(self.links.sum()) // 2
        return f"MustLinks({count} links, {self.parts} parts{wanted}, level {self.level:g})"


def must_links(
    Y: Any,
    rank: int,
    *,
    noise: float | tuple[float, float] | None = None,
    radius: float | tuple[float, Any] | None = None,
    n_clusters: int | None = None,
    level: float = 0.05,
    source: Any = None,
    splits: int = 3,
    seed: int = 0,
) -> MustLinks:
    """Certified pairs of one cluster, from Y = A + N alone. Y: (p, n), one point per column.

    A: clean, with row space inside that of X*, a union of independent subspaces (A = X*, or WX* of
    a linear layer). rank: that of X*. A larger one costs links, **a smaller one is unsound**.

    noise: N is Gaussian with independent columns. A number is its standard deviation σ, the same
      in every entry. A pair (a, b) says a² I ⪯ Σ ⪯ b² I for the covariance Σ of a column: with
      a = 0, only a bound is known, and links are fewer. None estimates σ of white noise. With
      probability ≥ 1 − level over the noise no link is wrong.
    radius: instead, N is anything with ‖N‖ ≤ ν; ν or (ν, δ), δ (n,) bounding ‖Ne_j‖ point by point.
      No link is ever wrong. Reaches less far, by about a decade of variance.
    source (with noise): what tells the k directions in which to look, independent of N: a left
      basis (p, rank) or a second batch (p, any) of the same source. Without it Y is split at
      random, ``splits`` times: one half shows the directions for the other.
    n_clusters: K, where known; the components are the clusters once they number K.

    Refuses, with no links and the reason in ``refused``, where Y cannot be what was said: intervals
    for σ from different singular values exclude each other or the given noise (raw images do that,
    at most 2 % of honest data), s_{rank+1} exceeds the radius, or parts are fewer than n_clusters.
    Without rows beyond the rank nothing can be checked.
    Everything but rounding is proved; for that there is an allowance, by experience, in the
    precision in which Y came. Computed in float64 on Y's device.
    Raises ValueError for noise together with radius, rank outside 1..min(p, n), halves of at most
    ``rank`` columns, unknown σ where there is no room beside the signal, and negative sizes.

    >>> found = sl.must_links(noisy.X, rank=6, n_clusters=3)
    >>> found.reached, sl.clustering.accuracy(noisy.labels, found.components)
    (True, 1.0)
    """
    A = check.single(Y, "Y")
    if not 0 < (level := check.non_negative(level, "level")) < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    k = check.rank_within(rank, A, "Y")
    K = None if n_clusters is None else check.cluster_count(n_clusters, A.shape[1])
    B, unit = balanced(A.double())
    scale, eps = float(unit), torch.finfo(A.dtype).eps
    graph, deviation = Graph(A.shape[1]), None
    if radius is not None:
        if noise is not None or source is not None:
            raise ValueError("radius stands alone: noise and source belong to Gaussian noise")
        level, refused = 0.0, _bounded(graph, B, k, *_radius(radius, B, scale), eps, K)
    else:
        tests = list(_rows(B, k, source, splits, seed))
        given = None if noise is None else _deviation(noise, scale)
        s = singular_values(B).cpu().numpy()
        slack = allowance(max(A.shape), eps) * float(s[0])
        spread, refused, rest = _assess(Spectrum(s, slack, (len(B), graph.n), k), given, level)
        deviation = (spread[0] * scale, spread[1] * scale)
        for T, points, share in [] if refused else tests:
            graph.add(null_bounds(T, spread, rest * share, slack), points)
    links, components, parts = graph.parts()
    if K is not None and parts < K:
        refused = f"{parts} parts for {K} clusters: a link is wrong, so an assumption is"
        links, components, parts = Graph(graph.n).parts()
    return MustLinks(*_like(Y, links, components), parts, K, level, deviation, refused)


def certified_labels(X: Any, rank: int, n_clusters: int, **options: Any) -> Any:
    """The clusters (n,) where the links of X prove them, else None. options: of ``must_links``.

    None is an answer: nothing is certified. Labels are wrong with probability ≤ level, whatever is
    computed from them afterwards: any layer, any number of layers, see ``read_layer``.

    >>> labels = sl.certify.certified_labels(noisy.X, 6, n_clusters=3)
    >>> sl.clustering.accuracy(noisy.labels, labels)
    1.0
    """
    check.single(X, "X")
    return must_links(X, rank, n_clusters=n_clusters, **options).labels


def _like(Y: Any, links: csr_matrix, components: Tensor) -> tuple[Any, Any]:
    """Of Y's kind and on its device; links of many points stay sparse."""
    few = links.shape[0] <= DENSE
    if not isinstance(Y, Tensor):
        return links.toarray() if few else links, components.numpy()
    dense = torch.from_numpy(links.toarray()).to(Y.device) if few else links
    return dense, components.to(Y.device)


def _bounded(
    graph: Graph, B: Tensor, k: int, nu: Tensor, delta: Tensor | None, eps: float, K: int | None
) -> str:
    """Links entry by entry, then by cuts of the parts that these leave; or why there are none."""
    entries, rows = entry_bounds(B, k, nu, delta, eps)
    if rows.refused or not entries.proves:
        return rows.refused
    graph.add(entries, torch.arange(graph.n, device="cpu"))
    _, parts, count = graph.parts()
    for J in uncut(entries.V, rows.length, parts.to(B.device), rows.unit) if count != K else []:
        graph.join(torch.isin(parts, J.cpu()).nonzero()[:, 0])
    return ""


def _pair(value: Any, name: str) -> tuple[Any, Any] | None:
    """The two halves of a pair; None for a number."""
    if not isinstance(value, (tuple, list)):
        return None
    if len(value) != 2:
        raise ValueError(f"{name} must be a number or a pair, got {len(value)} values")
    return value[0], value[1]


def _radius(radius: Any, B: Tensor, scale: float) -> tuple[Tensor, Tensor | None]:
    """ν and δ in the units of the balanced matrix."""
    nu, each = _pair(radius, "radius") or (radius, None)
    length = B.new_tensor(check.non_negative(nu, "radius") / scale)
    if each is None:
        return length, None
    delta = check.as_tensor(each, "δ of radius").to(B) / scale
    if delta.shape != (B.shape[1],) or not bool(((delta >= 0) & torch.isfinite(delta)).all()):
        raise ValueError(
            f"δ of radius=(ν, δ) must be {B.shape[1]} finite numbers ≥ 0, one a column"
        )
    return length, delta


def _deviation(noise: Any, scale: float) -> tuple[float, float]:
    low, high = (
        check.non_negative(value, "noise") for value in _pair(noise, "noise") or (noise, noise)
    )
    if low > high:
        raise ValueError(f"noise=(low, high) must rise, got {noise}")
    return low / scale, high / scale


def _assess(
    seen: Spectrum, given: tuple[float, float] | None, level: float
) -> tuple[tuple[float, float], str, float]:
    """The deviation, why the data contradict it, and the level that is left."""
    if given is not None:
        return given, seen.disagreement(given, GUARD) if seen.indices else "", level
    if not seen.indices:
        raise ValueError(
            f"noise=None needs singular values beyond the rank {seen.rank} to tell the noise from "
            f"the signal, got shape {seen.shape}; pass noise=σ"
        )
    found = seen.interval(seen.indices[0], UNKNOWN * level / 2)
    return found, seen.disagreement(None, GUARD), (1 - UNKNOWN) * level


def _rows(
    Y: Tensor, k: int, source: Any, splits: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """T = UᵀY (k, n') with U independent of their noise, which columns, shares of the level."""
    p, n = Y.shape
    if source is not None or p == k:
        if n <= k:
            raise ValueError(f"Y needs more columns than rank = {k}, got {n}")
        T = Y if p == k else _left(_source(source, Y, k), k).mT @ Y
        yield T, torch.arange(n, device="cpu"), 1.0
        return
    if n // 2 <= k:
        raise ValueError(
            f"halves of Y need more than rank = {k} columns each, got {n} in all; pass source="
        )
    rounds = check.positive_int(splits, "splits")
    check.room(rounds * n * k, "splits")
    for i in range(rounds):
        order = torch.from_numpy(generator(seed, "halves", i).permutation(n)).to(Y.device)
        halves = order[: n // 2], order[n // 2 :]
        for shown, tested in (halves, halves[::-1]):
            yield _left(Y[:, shown], k).mT @ Y[:, tested], tested, 1 / (2 * rounds)


def _source(source: Any, Y: Tensor, k: int) -> Tensor:
    B = check.single(source, "source")
    if B.shape[0] != Y.shape[0] or B.shape[1] < k:
        raise ValueError(
            f"source must be a left basis or a batch ({Y.shape[0]}, at least {k}), one row for "
            f"each of Y, got shape {tuple(B.shape)}"
        )
    return balanced(B.to(Y))[0]


def _left(B: Tensor, k: int) -> Tensor:
    """Leading left singular vectors (p, k). A Gram matrix will do: any directions are admissible
    that the noise did not choose, as long as they are orthonormal.
    """
    if B.shape[0] <= B.shape[1]:
        return torch.linalg.eigh(B @ B.mT)[1][:, -k:]
    return torch.linalg.qr(B @ torch.linalg.eigh(B.mT @ B)[1][:, -k:]).Q

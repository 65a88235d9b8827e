"""Subspace clustering by the row-space projector, as a scikit-learn estimator.

Here rows are samples, as scikit-learn has it: for the (n_samples, n_features) matrix the projector
is P_r = V_r V_rᵀ with V_r its r leading left singular vectors, one row per sample. P_r itself, n×n,
is never formed: what compares the samples is in ``affinity``.
"""

from __future__ import annotations

import hashlib
import warnings
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.affinity import (
    SCALES,
    exact_clusters,
    geometric_ranks,
    neighbour_graph,
    weighted,
)
from subspace_lib.certify import MustLinks, must_links
from subspace_lib.clustering import NEIGHBORS, linkage_clusters, spectral_labels
from subspace_lib.rowspace import RowSpace, balanced, factor

ASSIGN = ("spectral", "threshold")
BLANK = ("largest", "noise")
RANKS = 10  # over which the mean is taken, each one pass over n²
POWER = 5  # of the mean
FEW, MANY = 8, 200  # neighbours, at least and at most
DIMENSIONS = (1, 16)  # of a cluster: the ranks go from K to 16K


class ProjectorClustering(ClusterMixin, BaseEstimator):
    """Clusters of samples that share a subspace, read off the projectors P_r of the data matrix.

    For a union of independent subspaces P_r = 0 across clusters, at r the sum of their dimensions.
    With noise |P_r| is a similarity, and nobody knows r: by default two samples are as alike as
    the geometric mean, over ten ranks, of |v_i · v_j| / (‖v_i‖‖v_j‖), v_i the rows of V_r. A pair
    across clusters is small near the right rank, and half that rank costs as much as twice that
    rank (see the chapter on clustering): hence ranks a constant factor apart, and a mean that a
    small value pulls down. Data without noise are found out: their clusters are read exactly.

    n_clusters: K.
    rank: None (default): from one to sixteen dimensions a cluster, as far as the data have them and
      to half the samples at most. (low, high): that range instead, where the dimensions
      are known roughly. An integer r: that rank alone, with 20 neighbours, for who knows it.
    assign: "spectral" (default): normalised spectral clustering of the sparse graph of each
      sample's nearest. "threshold": single linkage, the K components of the best threshold on
      |P_r|: what the theory certifies and exact where the margin is positive, but one noisy sample
      that joins two clusters undoes it; rank=None is then the numerical
      rank, right without noise.
    n_neighbors: of each sample; None: n/K, the size of a cluster, at least 8 and at most 200. Four
      neighbourhoods of 1/8, 1/4, 1/2 and all of them are added up, because clusters are of
      different sizes, and dense data want few neighbours where tracked points want many.
    power: of the similarity, so that many weak links do not outweigh some strong ones; None: 5
      for the mean (4 to 6 do the same), 1 at one rank.
    affine: True appends a constant feature, so that affine subspaces (tracked points, say) become
      linear ones. It makes independent linear subspaces dependent: leave it off for these.
    normalize: divide by the norms, so that samples of large leverage do not become everybody's
      neighbour; False compares |v_i · v_j|.
    blank: label of all-zero samples, which lie in every subspace and take no part: "largest"
      cluster (default, with a warning) or "noise", −1.
    random_state: of k-means and of the starting vector.

    Copies of a sample count once. O(n²·rank) time, O(n·(rank + n_neighbors)) memory; on the GPU
    where X is a tensor there.

    Attributes: labels_ (n_samples,); ranks_ compared, rank_ the largest; factor_ (n_samples, rank_)
    with P_r = F_r F_rᵀ of its first r columns; factor_ = X mapping_ + offset_; distinct_, the
    indices of the samples that count; n_features_in_.
    ``predict`` gives new samples their coordinates and the vote of the most similar training
    samples, so a grid search can score held-out samples by labels, when these are known:
    ``GridSearchCV(ProjectorClustering(4), {"rank": [8, 16]}, scoring="adjusted_rand_score")``.
    Without labels there is no ``score``: no quantity here is comparable between ranks.
    Raises ValueError for a rank above what the data have, or n_clusters above n_samples.
    See also: ``figures.ClusteringDisplay`` draws what was found.
    Source: Costeira and Kanade (1998), doi:10.1023/A:1008000628999 (P, the shape interaction
    matrix); von Luxburg (2007), doi:10.1007/s11222-007-9033-z (spectral clustering).

    >>> found = sl.ProjectorClustering(3, random_state=0).fit_predict(noisy.X.T)
    >>> sl.clustering.accuracy(data.labels, found)
    1.0
    """

    def __init__(
        self,
        n_clusters: int = 8,
        rank: int | tuple[int, int] | None = None,
        *,
        assign: str = "spectral",
        n_neighbors: int | None = None,
        power: float | None = None,
        affine: bool = False,
        normalize: bool = True,
        blank: str = "largest",
        random_state: Any = None,
    ):
        self.n_clusters = n_clusters
        self.rank = rank
        self.assign = assign
        self.n_neighbors = n_neighbors
        self.power = power
        self.affine = affine
        self.normalize = normalize
        self.blank = blank
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ProjectorClustering:
        """Cluster the rows of X (n_samples, n_features); y is ignored."""
        X, device = _dense(X)
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        K = self._checked(len(X))
        eps, X = float(np.finfo(X.dtype).eps), X.astype(np.float64)
        self._fit_X, (self.distinct_, place) = X, _distinct(X)
        if not len(self.distinct_):
            raise ValueError("X must not be zero: it has no row space to cluster by")
        A, unit = balanced(torch.from_numpy(X[self.distinct_].T.copy()).to(device))
        m, n = A.shape
        if self.affine:
            A = torch.cat([A, A.square().mean().sqrt().expand(1, n)])
        space = factor(A, min(A.shape), eps=eps)
        labels = self._exact(space, K)
        self.ranks_ = self._ranks(int(space.rank), n, K, labels is not None)
        self.rank_, self._how = self.ranks_[-1], self._comparison(n, K)
        V = space.V[: self.rank_]
        images = A @ V.mT  # columns s_j u_j
        mapping = images / images.square().sum(0)
        self.mapping_ = (mapping[:m] / unit).cpu().numpy()
        self.offset_ = (A[m:, :1].mT @ mapping[m:])[0].cpu().numpy()
        self.factor_ = np.where(place[:, None] < 0, self.offset_, V.mT.cpu().numpy()[place])
        labels = self._cluster(V, K) if labels is None else labels
        blank = place < 0
        self._blank_label = int(np.bincount(labels[place[~blank]]).argmax())
        if blank.any() and self.blank == "largest":
            warnings.warn(
                f"{blank.sum()} of {len(X)} samples are zero; they lie in every subspace, take no "
                f"part, and get the label of the largest cluster; blank='noise' labels them -1",
                stacklevel=2,
            )
        elif self.blank == "noise":
            self._blank_label = -1
        self.labels_ = np.where(blank, self._blank_label, labels[place])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels of new samples (m, n_features): the vote of the most similar training samples.

        Votes weigh as their similarity. "threshold" asks the single most similar one.
        """
        check_is_fitted(self)
        X, device = _dense(X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        old = torch.from_numpy(self.factor_[self.distinct_]).to(device)
        new = torch.from_numpy(X @ self.mapping_ + self.offset_).to(device)
        k = 1 if self.assign == "threshold" else min(self._how["k"], len(old))
        weights, index = weighted(new, old, self.ranks_, **self._how | {"k": k})
        labels = self.labels_[self.distinct_]
        votes = np.zeros((len(X), int(labels.max()) + 1))
        np.add.at(votes, (np.arange(len(X))[:, None], labels[index]), weights)
        return np.where(X.any(1), votes.argmax(1), self._blank_label)

    def graph(self) -> csr_matrix:
        """The similarities that are clustered, of the distinct samples that are not blank."""
        check_is_fitted(self)
        return neighbour_graph(
            torch.from_numpy(self.factor_[self.distinct_]), self.ranks_, **self._how
        )

    def certify(self, noise: Any = None, rank: int | None = None, **options: Any) -> MustLinks:
        """Pairs of the fitted samples that certainly share a cluster, see ``must_links``.

        noise: deviation of the Gaussian noise on X, None if unknown. rank: of the clean data;
        None takes the estimator's own, which must have been given. options: radius, level, …
        """
        check_is_fitted(self)
        own = self.rank if rank is None else rank
        if not isinstance(own, Integral):
            raise ValueError("rank must be given, that of the clean data: a smaller one is unsound")
        options = {"n_clusters": self.n_clusters} | options
        return must_links(self._fit_X.T.copy(), int(own), noise=noise, **options)

    def _checked(self, n: int) -> int:
        """K; raises for parameters that make no sense."""
        K = check.positive_int(self.n_clusters, "n_clusters")
        check.one_of(self.assign, ASSIGN, "assign")
        check.one_of(self.blank, BLANK, "blank")
        if self.n_neighbors is not None:
            check.positive_int(self.n_neighbors, "n_neighbors")
        if self.power is not None:
            check.non_negative(self.power, "power")
        if n < K:
            raise ValueError(
                f"n_clusters must be at most n_samples = {n}, got {K}; n_samples={n} "
                f"points cannot fill more clusters"
            )
        return K

    def _exact(self, space: RowSpace, K: int) -> np.ndarray | None:
        """The clusters of data without noise, if they are that and no rank was given."""
        R = int(space.rank)
        if self.rank is not None or K == 1 or space.V.shape[1] == R:
            return None
        return exact_clusters(space.V[:R], K, space.eps**0.5)

    def _ranks(self, R: int, n: int, K: int, exact: bool) -> tuple[int, ...]:
        """The ranks that are compared; R: the numerical rank, n: the number of samples."""
        if self.rank is None:
            low, high = (least_most * K for least_most in DIMENSIONS)
            high = R if exact or self.assign == "threshold" else min(high, n // 2, R)
            low = high if exact or self.assign == "threshold" else min(low, high)
        elif isinstance(self.rank, tuple | list) and len(self.rank) == 2:
            low, high = (check.positive_int(r, "rank") for r in self.rank)
        elif isinstance(self.rank, Integral) and not isinstance(self.rank, bool):
            low = high = int(self.rank)
        else:
            raise TypeError(f"rank must be an integer, (low, high) or None, got {self.rank!r}")
        if not 1 <= low <= high <= R:
            raise ValueError(
                f"rank must lie in 1..{R}, the numerical rank of X, got {self.rank}; rank=None "
                f"takes at most that"
            )
        if high == n > K:
            warnings.warn(
                f"rank = {n} is the number of distinct samples, so that P = I: every sample is "
                f"orthogonal to every other, and nothing is seen; give a smaller rank",
                stacklevel=3,
            )
        return geometric_ranks(low, high, RANKS)

    def _comparison(self, n: int, K: int) -> dict[str, Any]:
        """Arguments of ``weighted``."""
        one = self.rank is not None and len(self.ranks_) == 1
        k = NEIGHBORS if one else min(max(FEW, n // K), MANY)
        power = 1 if one else POWER
        return {
            "k": k if self.n_neighbors is None else self.n_neighbors,
            "power": power if self.power is None else self.power,
            "scales": (1,) if one else SCALES,
            "unit": self.normalize,
        }

    def _cluster(self, V: Tensor, K: int) -> np.ndarray:
        n = V.shape[1]
        if n <= K:
            return np.arange(n)
        if self.assign == "threshold":
            return linkage_clusters(V[None], K)[0].cpu().numpy()
        if K == 1:
            return np.zeros(n, dtype=np.int64)
        graph = neighbour_graph(V.mT, self.ranks_, **self._how)
        return spectral_labels(graph, K, check_random_state(self.random_state))


def _dense(X: Any) -> tuple[Any, torch.device]:
    """X for scikit-learn's checks, and where to compute."""
    if not isinstance(X, Tensor):
        return X, torch.device("cpu")
    if X.layout != torch.strided:
        raise TypeError(f"X must be dense, got a {X.layout} tensor; X.to_dense() makes it so")
    return X.detach().cpu(), X.device


def _distinct(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that count, the first of its copies each, and every row's place among them.

    −1: blank. Copies would raise the singular value of their direction and fill each other's
    neighbourhoods.
    """
    first: list[int] = []
    seen: dict[bytes, int] = {}
    place = np.full(len(X), -1)
    for i in np.flatnonzero(X.any(1)):
        key = hashlib.blake2b((X[i] + 0.0).tobytes()).digest()  # −0.0 is 0.0
        place[i] = seen.setdefault(key, len(first))
        if place[i] == len(first):
            first.append(int(i))
    return np.array(first, dtype=np.int64), place

"""What a layer did to certified labels, and the whitening of a linear layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.clustering import linkage_clusters, spanning_trees
from subspace_lib.rowspace import balanced, factor

STEEP = 1e3  # singular values of W further below its largest are left out: they amplify rounding


@dataclass(frozen=True)
class LayerReading:
    """Whether Q = P_rank(Y) returns given labels: a computation, nothing is estimated.

    holds: for some c the components of {|Q_ij| > c} are exactly the labels. c may then be any
    number in [across, inside): the strongest link that single linkage cuts, the weakest it keeps.
    found: (n,) the K clusters of single linkage. broken: (labels,) whether points of one label lie
    in different clusters of ``found``; kept: how many labels do not.
    """

    holds: bool
    inside: float
    across: float
    found: Any
    broken: np.ndarray
    rank: int

    @property
    def kept(self) -> int:
        return int((~self.broken).sum())


def read_layer(
    Y: Any, labels: Any, rank: int | None = None, *, n_clusters: int | None = None
) -> LayerReading:
    """Does the projector of a layer return the labels? Y: (p, n), any layer; labels: (n,).

    With labels from ``certified_labels`` the answer is about the true clusters, with probability
    ≥ 1 − level for *all* layers of all networks together: Y may depend on the data in any way.
    The components of ``must_links`` serve as well where they are more than n_clusters, the number
    of clusters: a part that is broken is a true cluster that Q certainly broke.
    rank: of Q; None takes the widest gap s_q/s_{q+1} for q between K and min(p, n)/2.
    Takes O(n²·rank) time and O(n·rank) memory. Raises ValueError for labels None (nothing was
    certified) or of another length, TypeError and ValueError for a bad rank or matrix.

    >>> labels = sl.certify.certified_labels(noisy.X, 6, n_clusters=3)
    >>> W = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    >>> sl.certify.read_layer(W @ noisy.X, labels).holds
    True
    """
    A = check.single(Y, "Y")
    y, K = target(labels, A.shape[1], n_clusters)
    B = balanced(A.double())[0]
    q = _widest_gap(B, K) if rank is None else check.rank_within(rank, A, "Y")
    space = factor(B, q, eps=torch.finfo(A.dtype).eps)
    found = read_rows(space.V, y, K, space.unit)
    return found if isinstance(Y, Tensor) else replace(found, found=found.found.numpy())


def target(labels: Any, n: int, n_clusters: int | None) -> tuple[np.ndarray, int]:
    """Labels 0, 1, … of n points and the number of clusters, by default that of the labels."""
    if labels is None:
        raise ValueError("labels are None: nothing was certified that a layer could be held to")
    y = check.label_vector(labels, n)
    return y, int(y.max()) + 1 if n_clusters is None else check.cluster_count(n_clusters, n)


def read_rows(V: Tensor, y: np.ndarray, K: int, unit: float) -> LayerReading:
    """``read_layer`` of Q = VᵀV, orthonormal rows V (q, n); unit: rounding in its entries."""
    n, count = V.shape[-1], int(y.max()) + 1
    edges = spanning_trees(V, factor=True)[0].sort(descending=True).values
    inside = float(edges[n - K - 1]) if n > K else float("inf")
    across = float(edges[n - K]) if K > 1 else 0.0
    found = linkage_clusters(V[None], K)[0]
    z = found.cpu().numpy()
    broken = np.array([len(np.unique(z[y == a])) > 1 for a in range(count)])
    holds = count == K and not broken.any() and inside > across + unit
    return LayerReading(bool(holds), inside, across, found, broken, len(V))


def _widest_gap(B: Tensor, K: int) -> int:
    s = factor(B, 1).s
    last = max(min(K, len(s)), len(s) // 2)
    lead, follow = s[:last], torch.nn.functional.pad(s, (0, 1))[1 : last + 1]
    ratio = lead / follow.clamp(min=torch.finfo(s.dtype).eps * max(B.shape) * s[0])
    first = min(K, last) - 1
    return first + 1 + int(ratio[first:].argmax())


@check.numpy_in_numpy_out
def whiten(Y: Tensor, W: Tensor) -> Tensor:
    """Of a linear layer Y = WX the part whose noise is white again: OX with orthonormal rows O.

    Y: (..., p, n), W: (p, m) known. W = U S O: returns S⁻¹UᵀY = OX, (..., q, n); white noise of
    deviation σ on X is white noise of deviation σ on it. Directions in which W is a thousand times
    weaker than in its strongest are left out: they would amplify the rounding of Y. That may cost
    links, not truth. Raises ValueError where W and Y have different numbers of rows.

    >>> W = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    >>> O = sl.certify.whiten(W, W)  # of the layer whose input is the identity
    >>> torch.allclose(O @ O.mT, torch.eye(20).double())
    True
    """
    Y, W = check.matrix(Y, "Y"), check.single(W, "W")
    if W.shape[0] != Y.shape[-2]:
        raise ValueError(
            f"W must be (p, m) with the p = {Y.shape[-2]} rows of Y, got shape {tuple(W.shape)}"
        )
    U, s, _ = torch.linalg.svd(W.double(), full_matrices=False)
    kept = s * STEEP > s[0]
    return ((U[:, kept].mT @ Y.double()) / s[kept, None]).to(Y.dtype)

"""What a layer did to certified labels, and the whitening of a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Whether Q = P_rank(Y) returns given labels; a computation, nothing is estimated.

    holds: for some c the components of {|Q_ij| > c} are exactly the labels; then c may be any
    number in [across, inside), the strongest link that single linkage cuts and the weakest that it
    keeps. found: (n,) the K clusters of single linkage. broken: (K,) whether points of one label
    are in different clusters of ``found``.
    """

    holds: bool
    inside: float
    across: float
    found: Any
    broken: np.ndarray
    rank: int

    @property
    def threshold(self) -> float:
        return (self.inside + self.across) / 2


def read_layer(
    Y: Any, labels: Any, rank: int | None = None, *, n_clusters: int | None = None
) -> LayerReading:
    """Does the projector of a layer return the labels? Y: (p, n), any layer; labels: (n,).

    With labels from ``certified_labels`` the verdict is about the true clusters, with probability
    ≥ 1 − level for *all* layers of all networks together: Y may depend on the data in any way.
    With ``must_links(...).components`` of more parts than n_clusters, a broken part is a true
    cluster that Q certainly broke.
    rank: of Q; None takes the widest gap s_q/s_{q+1} for q between K and min(p, n)/2.
    Takes O(n²·rank) time and O(n·rank) memory. Raises ValueError for labels None (nothing was
    certified) or of another length, TypeError and ValueError for a bad rank or matrix.

    >>> labels = sl.certify.certified_labels(noisy.X, 6, n_clusters=3)
    >>> W = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    >>> sl.certify.read_layer(W @ noisy.X, labels).holds
    True
    """
    A = check.matrix(Y, "Y")
    if A.ndim > 2:
        raise ValueError(
            f"Y must be one matrix (p, n), got shape {tuple(A.shape)}; loop over trials"
        )
    if labels is None:
        raise ValueError("labels are None: nothing was certified that this layer could be held to")
    y = check.label_vector(labels, A.shape[1])
    count = int(y.max()) + 1
    K = count if n_clusters is None else check.positive_int(n_clusters, "n_clusters")
    if A.shape[1] < K:
        raise ValueError(f"n_clusters must be at most the number of points {A.shape[1]}, got {K}")
    B = balanced(A.detach().double())[0]
    q = _widest_gap(B, K) if rank is None else check.rank_within(rank, A, "Y")
    space = factor(B, q, eps=torch.finfo(A.dtype).eps)
    edges = spanning_trees(space.V, factor=True)[0].sort(descending=True).values
    inside = float(edges[A.shape[1] - K - 1]) if A.shape[1] > K else float("inf")
    across = float(edges[A.shape[1] - K]) if K > 1 else 0.0
    found = linkage_clusters(space.V[None], K)[0]
    z = found.cpu().numpy()
    broken = np.array([len(np.unique(z[y == a])) > 1 for a in range(count)])
    same = count == K and not broken.any() and inside > across + space.unit
    kind = found if isinstance(Y, Tensor) else z
    return LayerReading(bool(same), inside, across, kind, broken, q)


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
    >>> sl.must_links(sl.certify.whiten(W @ noisy.X, W), rank=6, n_clusters=3).reached
    True
    """
    Y, W = check.matrix(Y, "Y"), check.matrix(W, "W")
    if W.ndim != 2 or W.shape[0] != Y.shape[-2]:
        raise ValueError(
            f"W must be (p, m) with the p = {Y.shape[-2]} rows of Y, got shape {tuple(W.shape)}"
        )
    U, s, _ = torch.linalg.svd(W.double(), full_matrices=False)
    kept = s * STEEP > s[0]
    return ((U[:, kept].mT @ Y.double()) / s[kept, None]).to(Y.dtype)

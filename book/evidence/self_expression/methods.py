"""Methods of self-expression: X = XC, and the clusters are read off |C|.

Among all such C the one of least nuclear and the one of least Frobenius norm are both P(X), the
projector on the row space, known as the shape interaction matrix (Costeira and Kanade 1998,
doi:10.1023/A:1008000628999): ``row_projector`` computes it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.linear_model import lars_path_gram
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import clustering

METHODS = ("P_r", "P_K", "ridge", "sparse", "k-means", "linkage")


@check.numpy_in_numpy_out
def ridge_self_expression(X: Tensor, penalty: float | Tensor) -> Tensor:
    """argmin_C ‖X − XC‖_F² + λ‖C‖_F² = V diag(s²/(s² + λ)) Vᵀ: a smoothed P(X).

    X: (..., m, n). penalty: λ > 0, a number or one per matrix (...). Returns (..., n, n).
    λ → 0 gives P(X); λ = s_r s_{r+1} comes closest to P_r(X), at distance s_{r+1}/(s_r + s_{r+1}).
    Raises ValueError for a penalty that is not positive. Source: Lu et al. (2012),
    doi:10.1007/978-3-642-33786-4_26 (least squares regression).
    """
    X = check.matrix(X, "X")
    size = torch.as_tensor(penalty, dtype=X.dtype, device=X.device)
    if not (torch.isfinite(size) & (size > 0)).all():
        raise ValueError(
            f"penalty must be positive and finite, got {penalty}; without a penalty the answer is "
            f"row_projector(X, rank)"
        )
    _, s, Vh = torch.linalg.svd(X, full_matrices=False)
    weights = s.square() / (s.square() + size[..., None])
    return Vh.mT @ (weights[..., None] * Vh)


@check.numpy_in_numpy_out
def sparse_self_expression(X: Tensor, penalty: float = 0.1) -> Tensor:
    """Each point by few others: column i minimises ‖x_i − Xc‖²/2 + α_i‖c‖_1 over c with c_i = 0.

    X: (m, n); columns are scaled to length one first (zero columns stay). penalty: α_i as a share
    of the smallest α for which c = 0 is the answer, in (0, 1). Returns C: (n, n), X ≈ XC.
    The homotopy method (scikit-learn's LARS), exact up to rounding; n problems of size n.
    Raises ValueError for a penalty outside (0, 1), fewer than two points or a batch. Source:
    Elhamifar and Vidal (2013), doi:10.1109/TPAMI.2013.57 (sparse subspace clustering).
    """
    X = check.matrix(X, "X")
    if X.ndim != 2 or X.shape[1] < 2:
        raise ValueError(f"X must be one matrix (m, n) with n ≥ 2 points, got {tuple(X.shape)}")
    if not 0 < penalty < 1:
        raise ValueError(f"penalty must lie strictly between 0 and 1, got {penalty}; 0.1 is usual")
    A = X.detach().cpu().double().numpy()
    length = np.linalg.norm(A, axis=0)
    A = np.divide(A, length, out=np.zeros_like(A), where=length > 0)
    n = A.shape[1]
    G, C = A.T @ A, np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        aims = G[others, i]
        if (most := np.abs(aims).max()) > 0:
            options = {"alpha_min": penalty * most, "return_path": False, "max_iter": 10 * n}
            among = G[np.ix_(others, others)]
            _, _, C[others, i] = lars_path_gram(aims, among, n_samples=1, method="lasso", **options)
    return torch.from_numpy(C).to(X)


def find_clusters(Y: Tensor, K: int, rank: int, penalty: float) -> dict[str, Tensor]:
    """Labels (c, n) by each of METHODS from the points Y (c, p, n), none of which sees the labels.

    Spectral clustering of |P_rank(Y)|, of |P_K(Y)|, of the ridge self-expression at the penalty of
    Proposition 26.3 and of the sparse one; k-means of the points; single linkage of |P_rank(Y)|.
    """
    _, s, V = torch.linalg.svd(Y, full_matrices=False)
    lam = (s[:, rank - 1] * s[:, rank])[:, None]
    root = (s.square() / (s.square() + lam)).sqrt()  # rows of a factor of the ridge solution
    sparse = [sparse_self_expression(A, penalty).abs().cpu().numpy() for A in Y]
    graphs = [csr_matrix(C + C.T) for C in sparse]
    near = [KMeans(K, n_init=10, random_state=0).fit_predict(A.mT.cpu().numpy()) for A in Y]
    return {
        "P_r": clustering.spectral_clusters(V[:, :rank], K),
        "P_K": clustering.spectral_clusters(V[:, :K], K),
        "ridge": clustering.spectral_clusters(root[..., None] * V, K),
        "sparse": torch.from_numpy(
            np.stack([clustering.spectral_labels(g, K, np.random.RandomState(0)) for g in graphs])
        ).to(Y.device),
        "k-means": torch.from_numpy(np.stack(near).astype(np.int64)).to(Y.device),
        "linkage": clustering.linkage_clusters(V[:, :rank], K),
    }

"""The peers: own short versions of other methods, each one formula with its source.

X: (m, n), points as columns. What returns (n, n) is a matrix of affinities or coefficients, and the
labels are read off |C| + |Cᵀ| by one and the same normalised spectral clustering. Constants are
those of the authors' papers or published code; none was fitted to the data sets of this book.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from subspace_lib.clustering import leading_pairs, spectral_labels
from subspace_lib.estimator import ProjectorClustering

Array = np.ndarray
SHARE = 20  # of the points of a cluster that thresholding keeps: one in so many
RSIM_POWER, LRR_POWER = 3.5, 4
DIMENSION = 4  # ranks go from K to 4K; as the image sets are read with one rank
HINDSIGHT = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def unit(X: Array) -> Array:
    """Columns of length one; zero columns stay."""
    length = np.linalg.norm(X, axis=0)
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)


def off_diagonal(C: Array) -> Array:
    np.fill_diagonal(C, 0)
    return C


def read(C: Array, K: int, seed: int) -> Array:
    """Labels from coefficients or affinities."""
    W = csr_matrix(np.abs(C) + np.abs(C).T)
    return spectral_labels(W, K, np.random.RandomState(seed))


# Coefficients


def least_squares(X: Array, penalty: float) -> Array:
    """argmin ‖X − XC‖_F² + λ‖C‖_F² with c_ii = 0: with B = (XᵀX + λI)⁻¹, C_ij = −B_ij/B_jj.

    Source: Lu et al. (2012), doi:10.1007/978-3-642-33786-4_26 (least squares regression, LSR).
    """
    B = np.linalg.inv(X.T @ X + penalty * np.eye(X.shape[1]))
    return off_diagonal(-B / B.diagonal())


def coherence(X: Array) -> Array:
    """max_i≠j |x_i · x_j| of each point j: the least ℓ1 weight at which c_j = 0."""
    return np.abs(off_diagonal(X.T @ X)).max(0)


def sparse(
    X: Array,
    weight: Array | float,
    *,
    ridge: Array | float = 0.0,
    affine: bool = False,
    steps: int = 200,
    tol: float = 2e-4,
) -> Array:
    """argmin ½‖X − XC‖_F² + Σ_j w_j‖c_j‖₁ + ½ρ_j‖c_j‖² with c_jj = 0, and 1ᵀC = 1ᵀ where affine.

    weight w, ridge ρ: a number or one a column. Alternating directions: A solves the quadratic
    part, C shrinks it, U and u hold the two constraints together.
    Source: Elhamifar and Vidal (2013), doi:10.1109/TPAMI.2013.57 (sparse subspace clustering, SSC).
    """
    n, mu = X.shape[1], float(coherence(X).min()) or 1.0
    one = affine * np.sqrt(mu) * np.ones((1, n))
    _, s, Q = np.linalg.svd(np.concatenate([X, one]), full_matrices=False)
    kept = (s**2 / (s**2 + mu))[:, None]
    aim = X.T @ X + affine * mu
    C = U = np.zeros((n, n))
    u = np.zeros(n)
    for _ in range(steps):
        right = aim + mu * (C - U) - affine * mu * u
        A = (right - Q.T @ (kept * (Q @ right))) / mu
        C = A + U
        C = np.sign(C) * np.maximum(np.abs(C) - weight / mu, 0) / (1 + ridge / mu)
        C = off_diagonal(C)
        gap, U = A - C, U + A - C
        u = u + A.sum(0) - 1
        if np.abs(gap).max() < tol and (not affine or np.abs(A.sum(0) - 1).max() < tol):
            break
    return C


def thinned(C: Array, share: float = 1.0) -> Array:
    """Each column's largest coefficients, to that share of its ℓ1 norm, over the largest of all."""
    size = np.abs(C)
    falling = -np.sort(-size, axis=0)
    before = falling.cumsum(0) - falling
    least = np.where(before < share * size.sum(0), falling, np.inf).min(0)
    return np.where(size >= least, size, 0) / np.maximum(falling[0], 1e-300)


def lasso(X: Array, level: float, **how: Any) -> Array:
    """``sparse`` with one weight: the least of all ``coherence``, divided by the level."""
    return sparse(X, coherence(X).min() / level, **how)


def elastic(X: Array, share: float, level: float, **how: Any) -> Array:
    """argmin λ‖c‖₁ + ½(1−λ)‖c‖² + ½γ_j‖x_j − Xc‖² with c_jj = 0, γ_j the level times its least.

    share: λ; at γ_j = λ/max_i|x_i · x_j| the answer leaves 0.
    Source: You, Li, Robinson and Vidal (2016), doi:10.1109/CVPR.2016.426 (EnSC; there by an active
    set).
    """
    weight = coherence(X) / level
    return sparse(X, weight, ridge=weight * (1 - share) / share, **how)


def greedy(X: Array, most: int = 10, tol: float = 1e-6) -> Array:
    """Each point by at most so many others, the one that fits the rest best after the other.

    Source: You, Robinson and Vidal (2016), doi:10.1109/CVPR.2016.425 (orthogonal matching pursuit,
    SSC-OMP).
    """
    n, G = X.shape[1], X.T @ X
    C, every = np.zeros((n, n)), np.arange(n)
    chosen = np.empty((n, 0), dtype=int)
    for _ in range(min(most, n - 1)):
        along = G @ C
        rest = off_diagonal(G - along)
        rest[chosen, every[:, None]] = 0
        going = G.diagonal() + (C * (along - 2 * G)).sum(0) > tol
        best = np.abs(rest).argmax(0)[:, None]
        chosen = np.concatenate([chosen, best], 1)
        small = G[chosen[:, :, None], chosen[:, None, :]]
        right = np.take_along_axis(G, chosen, 1)[..., None]
        fit = np.linalg.pinv(small, rcond=1e-10, hermitian=True) @ right
        fresh = np.zeros((n, n))
        fresh[chosen, every[:, None]] = fit[..., 0]
        C = np.where(going, fresh, C)
    return C


def thresholded(X: Array, nearest: int) -> Array:
    """exp(−2 arccos |x_i · x_j|) for the q most parallel others of each point, unit columns.

    Source: Heckel and Bölcskei (2015), doi:10.1109/TIT.2015.2472520 (TSC).
    """
    cosine = off_diagonal(np.abs(X.T @ X).clip(max=1))
    order = np.argsort(-cosine, axis=0, kind="stable")[:nearest]
    W = np.zeros_like(cosine)
    kept = np.exp(-2 * np.arccos(np.take_along_axis(cosine, order, 0)))
    np.put_along_axis(W, order, kept, 0)
    return W


def shape_interaction(X: Array, rank: int) -> Array:
    """V_r V_rᵀ; of clean data, at their rank, also the low-rank representation.

    Source: Costeira and Kanade (1998), doi:10.1023/A:1008000628999; Liu et al. (2013),
    doi:10.1109/TPAMI.2012.88.
    """
    V = np.linalg.svd(X, full_matrices=False)[2][:rank]
    return V.T @ V


def low_rank(
    X: Array, weight: float, *, growth: float = 1.1, steps: int = 400, tol: float = 1e-6
) -> tuple[Array, ...]:
    """Z, E = argmin ‖Z‖_* + λ Σ_j ‖e_j‖ with X = XZ + E. Inexact augmented Lagrangian.

    Z = VB with the right singular vectors V of X, (n, R): B is what is found. growth: of the
    penalty; 1 ends at the optimum, the usual 1.1 sooner and near it.
    Source: Liu et al. (2013), doi:10.1109/TPAMI.2012.88 (LRR).
    """
    U, s, Vh = np.linalg.svd(X, full_matrices=False)
    R = int((s > 1e-10 * s[0]).sum())
    A, V = U[:, :R] * s[:R], Vh[:R].T
    solve = np.linalg.inv(np.eye(R) + A.T @ A)
    B, E, first = np.zeros((R, X.shape[1])), np.zeros_like(X), np.zeros_like(X)
    second, mu = np.zeros_like(B), 1e-2 if growth > 1 else 1.0
    for _ in range(steps):
        left, size, right = np.linalg.svd(B + second / mu, full_matrices=False)
        J = (left * np.maximum(size - 1 / mu, 0)) @ right
        B = solve @ (A.T @ (X - E + first / mu) + J - second / mu)
        E = X - A @ B + first / mu
        length = np.linalg.norm(E, axis=0)
        E = E * np.maximum(1 - weight / (mu * np.maximum(length, 1e-300)), 0)
        miss, split = X - A @ B - E, B - J
        first, second = first + mu * miss, second + mu * split
        mu = min(growth * mu, 1e6)
        if max(np.abs(miss).max(), np.abs(split).max()) < tol:
            break
    return V @ J, E


def low_rank_affinity(Z: Array) -> Array:
    """(m_i · m_j)^4, with m_i the rows of U√S of length one, Z = USVᵀ, as its authors read Z."""
    U, s, _ = np.linalg.svd(Z, full_matrices=False)
    M = unit((U * np.sqrt(s))[:, s > 1e-4 * s[0]].T)
    return (M.T @ M) ** LRR_POWER


# Labels


def robust_shape(X: Array, K: int, seed: int) -> Array:
    """max(Z, 0)^3.5 of the row-normalised Z = V_r V_rᵀ, at the rank among K..4K of the least ratio
    of normalised cut to eigengap.

    Source: Ji, Salzmann and Li (2015), arXiv:1509.02649 (RSIM).
    """
    V = np.linalg.svd(X, full_matrices=False)[2]
    best, found = np.inf, np.zeros(X.shape[1], dtype=np.int64)
    for r in range(K, min(DIMENSION * K, len(V)) + 1):
        rows = unit(V[:r])
        W = csr_matrix(np.maximum(rows.T @ rows, 0) ** RSIM_POWER)
        labels = spectral_labels(W, K, np.random.RandomState(seed))
        values = leading_pairs(W, K + 1, np.random.RandomState(seed))[0]
        ratio = normalised_cut(W, labels, K) / max(values[1] - values[0], 1e-12)
        if ratio < best:
            best, found = ratio, labels
    return found


def normalised_cut(W: csr_matrix, labels: Array, K: int) -> float:
    """Σ_k cut(k, rest)/volume(k)."""
    one = np.eye(K)[labels]
    volume = one.T @ np.asarray(W.sum(1)).ravel()
    kept = np.einsum("ik,ik->k", one, W @ one)
    return float((1 - kept / np.maximum(volume, 1e-300)).sum())


def near(n: int, K: int) -> int:
    return max(3, -(-n // (K * SHARE)))


Method = Callable[[Array, int, int], Array]  # labels (n,), or (c, n): the best of c in hindsight


def neighbours(X: Array, K: int, seed: int) -> Array:
    """scikit-learn's spectral clustering of its graph of ten nearest points."""
    from sklearn.cluster import SpectralClustering  # slow to import

    model = SpectralClustering(K, affinity="nearest_neighbors", random_state=seed)
    with warnings.catch_warnings():  # of graphs in several parts, and of as many points as features
        warnings.simplefilter("ignore", UserWarning)
        return model.fit_predict(X.T)


def means(X: Array, K: int, seed: int) -> Array:
    from sklearn.cluster import KMeans

    return KMeans(K, n_init=10, random_state=seed).fit_predict(X.T)


def penalties(X: Array, K: int, seed: int) -> Array:
    return np.stack([read(least_squares(X, penalty), K, seed) for penalty in HINDSIGHT])


METHODS: dict[str, Method] = {
    "this chapter": lambda X, K, seed: ProjectorClustering(K, random_state=seed).fit_predict(X.T),
    "k-means": means,
    "kNN spectral": neighbours,
    "SIM, rank 4K": lambda X, K, seed: read(shape_interaction(X, DIMENSION * K), K, seed),
    "RSIM": robust_shape,
    "LSR": lambda X, K, seed: read(least_squares(unit(X), 1e-3), K, seed),
    "LSR, best of 5": lambda X, K, seed: penalties(unit(X), K, seed),
    "LRR": lambda X, K, seed: read(low_rank_affinity(low_rank(unit(X), 0.18)[0]), K, seed),
    "SSC": lambda X, K, seed: read(thinned(lasso(unit(X), 20)), K, seed),
    "SSC-OMP": lambda X, K, seed: read(greedy(unit(X)), K, seed),
    "EnSC": lambda X, K, seed: read(elastic(unit(X), 0.95, 50), K, seed),
    "TSC": lambda X, K, seed: read(thresholded(unit(X), near(X.shape[1], K)), K, seed),
}

# The last one says what the size of the neighbourhood has to do with it.
LINEAR: dict[str, Method] = METHODS | {
    "this chapter, 10 nearest": lambda X, K, seed: ProjectorClustering(
        K, n_neighbors=10, random_state=seed
    ).fit_predict(X.T),
}

# Tracked points lie in affine subspaces, and their lengths mean something: the columns stay.
MOTION: dict[str, Method] = METHODS | {
    "this chapter, affine": lambda X, K, seed: ProjectorClustering(
        K, affine=True, random_state=seed
    ).fit_predict(X.T),
    "LSR": lambda X, K, seed: read(least_squares(X, 1e-3), K, seed),
    "LSR, best of 5": penalties,
    "LRR": lambda X, K, seed: read(low_rank_affinity(low_rank(X, 4.0)[0]), K, seed),
    "SSC": lambda X, K, seed: read(thinned(lasso(X, 800, affine=True), 0.7), K, seed),
}

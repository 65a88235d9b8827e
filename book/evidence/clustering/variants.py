"""The rule, one ingredient at a time: n×n matrices, slow, in plain view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from subspace_lib.affinity import FLOOR, SCALES, geometric_ranks
from subspace_lib.clustering import spectral_labels
from subspace_lib.estimator import DIMENSIONS, FEW, MANY, POWER, RANKS
from subspace_lib.projectors import row_basis


@dataclass(frozen=True)
class Rule:
    """ranks: None for K to 16K; mean: over the ranks, "geometric", "arithmetic" or "smallest"."""

    ranks: tuple[int, ...] | None = None
    mean: str = "geometric"
    unit: bool = True
    power: float = POWER
    scales: tuple[int, ...] = SCALES
    neighbors: int | None = None


def at_rank(V: Tensor, r: int, unit: bool = True) -> Tensor:
    """|P_r|, (n, n), divided by the lengths of the rows of V_r."""
    P = (V[:r].T @ V[:r]).abs()
    length = P.diagonal().sqrt()
    return P / torch.outer(length, length) if unit else P


def weights(C: Tensor, rule: Rule) -> Tensor:
    """Similarities at several ranks (T, n, n) as one matrix of weights."""
    if rule.mean == "geometric":
        floor = FLOOR if len(C) > 1 else 0
        return (C + floor).log().mean(0).exp() ** rule.power
    if rule.mean == "arithmetic":
        return (C**rule.power).mean(0)
    return C.amin(0) ** rule.power


def cluster(X: Tensor, K: int, rule: Rule) -> np.ndarray:
    """Labels of the columns of X (m, n)."""
    n = X.shape[1]
    ranks = rule.ranks
    if ranks is None:
        low, high = (d * K for d in DIMENSIONS)
        ranks = geometric_ranks(low, min(high, n // 2, *X.shape), RANKS)
    V = row_basis(X, max(ranks))
    W = weights(torch.stack([at_rank(V, r, rule.unit) for r in ranks]), rule)
    weight = W.fill_diagonal_(-1).numpy()
    q = min(rule.neighbors or min(max(FEW, n // K), MANY), n - 1)
    nearest = np.argsort(-weight, axis=1)[:, :q]
    graph = np.zeros((n, n))
    for scale in rule.scales:
        some = nearest[:, : max(1, q // scale)]
        np.put_along_axis(graph, some, np.take_along_axis(graph, some, 1) + 1, 1)
    graph *= weight
    return spectral_labels(csr_matrix(graph + graph.T), K, np.random.RandomState(0))

"""Entries of a projector that is not observed, each with a bound that is: tile by tile.

|S_ij| > bound_ij proves P_ij ≠ 0, where S is a similarity of rank k and P the projector onto the
row space of the clean data. Neither is ever formed for more than a tile of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

ENTRIES = 1 << 21  # of a tile: 16 MB in float64, whatever n is
OUTWARD = 1 + 1e-13  # evaluating a bound takes fewer than 200 roundings


@dataclass(frozen=True)
class Entries:
    """S = Vᵀ diag(weights) V and bound_ij = min(left_i · right_j + spread_ij, cap).

    V: (k, n), weights: (k,), left: (n, q), right: (q, n). spread: of g ≥ a (n,) the smaller one of
    √(g_i² + a_j²) and √(a_i² + g_j²); None for 0. proves: whether anything can follow at all; where
    it is False the bound is infinite.
    """

    V: Tensor
    weights: Tensor
    left: Tensor
    right: Tensor
    spread: tuple[Tensor, Tensor] | None
    cap: float
    proves: bool = True

    @property
    def size(self) -> int:
        return self.V.shape[-1]

    def similarity(self, rows: slice = slice(None)) -> Tensor:
        """Rows of S."""
        return (self.V[:, rows] * self.weights[:, None]).mT @ self.V

    def bound(self, rows: slice = slice(None)) -> Tensor:
        """Rows of the bound."""
        if not self.proves:
            return torch.full_like(self.similarity(rows), torch.inf)
        bound = self.left[rows] @ self.right
        if self.spread is not None:
            g, a = (part**2 for part in self.spread)
            bound += (a[rows, None] + a).add_(torch.minimum((g - a)[rows, None], g - a)).sqrt_()
        return bound.clamp_(max=self.cap).mul_(OUTWARD)

    def tiles(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of {|S_ij| > bound_ij}, a tile at a time."""
        step = max(1, ENTRIES // self.size)
        for start in range(0, self.size if self.proves else 0, step):
            rows = slice(start, min(start + step, self.size))
            found = self.similarity(rows).abs_() > self.bound(rows)
            yield rows, found


class Graph:
    """Pairs of n points, collected tile by tile."""

    def __init__(self, n: int):
        self.n, self.pairs = n, [np.empty((2, 0), np.int32)]

    def add(self, entries: Entries, points: Tensor) -> None:
        """Links of ``entries``, whose point a is our point points[a]."""
        ids = points.int().cpu().numpy()
        for rows, found in entries.tiles():
            i, j = found.triu_(rows.start + 1).nonzero(as_tuple=True)
            self.pairs.append(np.stack([ids[rows][i.cpu().numpy()], ids[j.cpu().numpy()]]))

    def join(self, members: Tensor) -> None:
        """All pairs of these points."""
        self.pairs.append(members.int().cpu().numpy()[np.stack(np.triu_indices(len(members), 1))])

    def links(self) -> csr_matrix:
        """(n, n) boolean and symmetric, False on the diagonal."""
        i, j = np.concatenate(self.pairs, 1)
        ends = np.concatenate([i, j]), np.concatenate([j, i])
        return coo_matrix((np.ones(2 * len(i), bool), ends), (self.n, self.n)).tocsr()

    def parts(self) -> tuple[csr_matrix, Tensor, int]:
        """Links, labels (n,) of the connected components, and how many there are."""
        links = self.links()
        count, found = connected_components(links, directed=False)
        return links, torch.from_numpy(found.astype(np.int64)), int(count)

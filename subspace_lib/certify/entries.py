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
DENSE = 4096  # points up to which links are a dense matrix
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
        """Rows of the links, {|S_ij| > bound_ij, i ≠ j}, a tile at a time."""
        step = max(1, ENTRIES // self.size)
        for start in range(0, self.size if self.proves else 0, step):
            rows = slice(start, min(start + step, self.size))
            found = self.similarity(rows).abs_() > self.bound(rows)
            found[:, rows].fill_diagonal_(False)
            yield rows, found


class Graph:
    """Links among n points, collected from tiles: dense for few points, sparse for many."""

    def __init__(self, n: int, device: torch.device):
        self.n, self.device = n, device
        self.dense = torch.zeros(n, n, dtype=torch.bool, device=device) if n <= DENSE else None
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, entries: Entries, points: Tensor) -> None:
        """Links of ``entries``, whose point a is our point points[a]."""
        for rows, found in entries.tiles():
            if self.dense is not None:
                self.dense[points[rows][:, None], points] |= found
                continue
            i, j = found.triu_(rows.start + 1).nonzero(as_tuple=True)
            ends = points[rows][i], points[j]
            self.pairs.append((ends[0].int().cpu().numpy(), ends[1].int().cpu().numpy()))

    def join(self, members: Tensor) -> None:
        """All pairs of these points."""
        if self.dense is not None:
            self.dense[members[:, None], members] = True
            self.dense.fill_diagonal_(False)
            return
        i, j = np.triu_indices(len(members), 1)
        ids = members.int().cpu().numpy()
        self.pairs.append((ids[i], ids[j]))

    def links(self) -> Tensor | csr_matrix:
        """(n, n) boolean and symmetric, False on the diagonal."""
        if self.dense is not None:
            return self.dense | self.dense.mT
        ends = zip(*self.pairs, strict=True) if self.pairs else ([], [])
        i, j = (np.concatenate([np.empty(0, np.int32), *part]) for part in ends)
        i, j = np.concatenate([i, j]), np.concatenate([j, i])
        return coo_matrix((np.ones(len(i), bool), (i, j)), (self.n, self.n)).tocsr()

    def components(self, links: Tensor | csr_matrix | None = None) -> Tensor:
        """(n,) labels 0, 1, … of the connected components, in the order of their first points."""
        links = self.links() if links is None else links
        graph = csr_matrix(links.cpu().numpy()) if isinstance(links, Tensor) else links
        found = connected_components(graph, directed=False)[1].astype(np.int64)
        return torch.from_numpy(found).to(self.device)

"""Random matrices for the checkers, and what several of them compute from its definition.

Nothing here is taken from the library's bounds: a checker compares them with these lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evidence.statement import Sides
from subspace_lib import _random as rnd
from subspace_lib.data import UnionOfSubspaces, sample_union

ROUNDING = 1e-9  # what rounding may leave of an identity
NEARLY = 1 + 1e-9  # what rounding may add to a ratio; also what makes an inequality strict

# Draws: float64, from the stream (seed, purpose)


def gaussian(seed: int, purpose: str, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.from_numpy(rnd.generator(seed, purpose, 0).standard_normal(shape))


def uniform(seed: int, purpose: str, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers in [low, high)."""
    return torch.from_numpy(rnd.generator(seed, purpose, 0).uniform(low, high, shape))


def log_uniform(seed: int, purpose: str, low: float, high: float, *shape: int) -> Tensor:
    """10 to the power of uniform numbers in [low, high)."""
    return 10 ** uniform(seed, purpose, low, high, *shape)


def orthonormal(seed: int, purpose: str, count: int, size: int, columns: int) -> Tensor:
    """(count, size, columns) with orthonormal columns, uniformly distributed."""
    return torch.linalg.qr(gaussian(seed, purpose, count, size, columns)).Q


def with_spectrum(seed: int, purpose: str, m: int, n: int, spectrum: Tensor) -> Tensor:
    """(count, m, n) with singular values ``spectrum`` (count, k) and random singular vectors."""
    count, k = spectrum.shape
    U = orthonormal(seed, purpose + " left", count, m, k)
    V = orthonormal(seed, purpose + " right", count, n, k)
    return (U * spectrum[:, None, :]) @ V.mT


def shape(seed: int, **limits: tuple[int, int]) -> list[int]:
    """One integer per keyword, drawn uniformly from its closed range; a batch shares its shape."""
    # named after what is drawn: two calls with one seed must not repeat the same random numbers
    g = rnd.generator(seed, "shape " + " ".join(limits), 0)
    return [int(g.integers(low, high + 1)) for low, high in limits.values()]


def sizes(seed: int, name: str, number: int, low: int, high: int) -> list[int]:
    """``number`` integers of one range: sizes of classes, dimensions of subspaces."""
    return shape(seed, **{f"{name}{k}": (low, high) for k in range(number)})


def spectrum(seed: int, purpose: str, low: float, high: float, count: int, k: int) -> Tensor:
    """(count, k) singular values, 10 to the power of uniform numbers, in falling order."""
    return log_uniform(seed, purpose, low, high, count, k).sort(-1, descending=True).values


def two_subspaces(
    seed: int, count: int, m: int, dims: int | Sequence[int], points: int | Sequence[int]
) -> UnionOfSubspaces:
    return sample_union(
        ambient_dim=m,
        n_subspaces=2,
        subspace_dim=dims,
        points_per_subspace=points,
        trials=count,
        seed=seed,
    )


class Chain(NamedTuple):
    """Clean signal, noise, weights, output; the statement's r."""

    S: Tensor
    Z: Tensor
    W: Tensor
    Y: Tensor
    r: int

    @property
    def X(self) -> Tensor:
        return self.S + self.Z

    @property
    def pairs(self) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
        """The two matrices of each link, and its error."""
        WX = self.W @ self.X
        links = (self.S, self.X, self.Z), (self.W @ self.S, WX, self.W @ self.Z)
        return *links, (self.Y, WX, self.Y - WX)


def chain(seed: int, count: int) -> Chain:
    """Signal of rank r, noise and bend of random size, W Gaussian; Y = WX + bend · |WX|."""
    m, n, r, extra = shape(seed, m=(3, 8), n=(6, 14), r=(1, 3), p=(0, 4))
    S = with_spectrum(seed, "S", m, n, spectrum(seed, "spectrum", -0.5, 0.5, count, r))
    noise, bend = (log_uniform(seed, name, -6, 0, count, 1, 1) for name in ("noise", "bend"))
    Z = noise * gaussian(seed, "Z", count, m, n)
    W = gaussian(seed, "W", count, r + extra, m)
    WX = W @ (S + Z)
    return Chain(S, Z, W, WX + bend * WX.abs(), r)


# Given matrices


def matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def turned(theta: float) -> tuple[Tensor, Tensor]:
    """A = diag(1, 0) and B = cos θ · e₁(cos θ, sin θ): Wedin with equality."""
    c, s = math.cos(theta), math.sin(theta)
    return matrix([[1, 0], [0, 0]]), matrix([[c * c, c * s], [0, 0]])


def labels(counts: Sequence[int]) -> Tensor:
    """0, …, 0, 1, …, 1, …: ``counts[k]`` points of class k."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def across(counts: Sequence[int]) -> Tensor:
    """(n, n) mask of the pairs in different classes."""
    y = labels(counts)
    return y[:, None] != y


def indicators(counts: Sequence[int]) -> Tensor:
    """(K, n): the class indicators, of length 1."""
    L = torch.nn.functional.one_hot(labels(counts), len(counts)).mT.double()
    return L / L.sum(1, keepdim=True).sqrt()


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks (..., r_k, n_k) along the diagonal, zeros elsewhere."""
    rows, columns = (sum(b.shape[axis] for b in blocks) for axis in (-2, -1))
    found = torch.zeros(*blocks[0].shape[:-2], rows, columns, dtype=torch.float64)
    row = column = 0
    for block in blocks:
        r, n = block.shape[-2:]
        found[..., row : row + r, column : column + n] = block
        row, column = row + r, column + n
    return found


# From their definitions


def norm(A: Tensor) -> Tensor:
    """Spectral norm."""
    return torch.linalg.matrix_norm(A, 2)


def square(A: Tensor) -> Tensor:
    """‖A‖_F²."""
    return A.square().sum((-2, -1))


def largest(A: Tensor) -> Tensor:
    """Largest entry in size."""
    return A.abs().amax((-2, -1))


def leading(A: Tensor, r: int) -> Tensor:
    """Top right singular vectors as rows, also of a matrix that has not this rank."""
    return torch.linalg.svd(A, full_matrices=False).Vh[..., :r, :]


def row_space(A: Tensor, q: int | None = None) -> Tensor:
    """Orthonormal rows: the q leading ones, by default all; those beyond the rank are zero."""
    _, s, Vh = torch.linalg.svd(A, full_matrices=False)
    return (Vh * (s > 1e-9 * s[..., :1]).double()[..., None])[..., :q, :]


def distance(A: Tensor, B: Tensor, r: int) -> Tensor:
    """‖P_r(A) − P_r(B)‖."""
    V, U = leading(A, r), leading(B, r)
    return norm(V.mT @ V - U.mT @ U)


def outside(R: Tensor, V: Tensor) -> Tensor:
    """R(I − VᵀV)."""
    return R - (R @ V.mT) @ V


def share(R: Tensor, V: Tensor) -> Tensor:
    """‖R Vᵀ‖_F²/k: the share of the k rows of R inside the row space of V."""
    return square(R @ V.mT) / R.shape[-2]


def tangent(sine: Tensor) -> Tensor:
    sine = sine.clamp(max=1)
    return sine / ((1 - sine) * (1 + sine)).clamp(min=1e-30).sqrt()


def count_rank(A: Tensor, tolerance: float = 1e-9) -> Tensor:
    """Rank of each matrix of a batch, singular values up to tolerance · s_1 counted as zero."""
    s = torch.linalg.svdvals(A)
    return (s > tolerance * s[..., :1]).sum(-1)


def components(edges: Tensor, alive: Tensor | None = None) -> Tensor:
    """Number of components of each graph (..., n, n, bool), of those with a point alive."""
    n = edges.shape[-1]
    reach = edges | torch.eye(n, dtype=torch.bool)
    for _ in range(max(1, (n - 1).bit_length())):  # paths of length 2, 4, 8, … up to n
        reach = (reach.float() @ reach.float()) > 0
    first = torch.where(reach, torch.arange(n), n).amin(-1) == torch.arange(n)
    return (first if alive is None else first & alive).sum(-1)


def connected(edges: Tensor) -> Tensor:
    """Whether each graph with adjacency ``edges`` (..., n, n, bool) is connected. Returns (...)."""
    return components(edges) == 1


def wrong_clusters(Q: Tensor, y: Tensor, cut: Tensor, kept: Tensor | None = None) -> Tensor:
    """Whether the components of {|Q_ij| > cut} among the kept points differ from their clusters.

    Q: (..., n, n); y: (n,); cut: (...); kept: (..., n), by default all points.
    """
    same = y[:, None] == y
    kept = torch.ones_like(Q[..., 0], dtype=torch.bool) if kept is None else kept
    edges = (Q.abs() > cut[..., None, None]) & kept[..., :, None] & kept[..., None, :]
    present = (kept[..., None] & torch.nn.functional.one_hot(y).bool()).any(-2).sum(-1)
    across = (edges & ~same).any(-1).any(-1)
    return across | (components(edges & same, kept) > present)


# Sides


def one(left: float | Tensor, right: float | Tensor) -> Sides:
    """A single instance."""
    return Sides(*(torch.as_tensor([float(v)], dtype=torch.float64) for v in (left, right)))


def nothing() -> Sides:
    """Where no draw satisfies the hypotheses."""
    return Sides(torch.zeros(0), torch.zeros(0))


def flags(wrong: Tensor) -> Sides:
    """Sides of an equivalence or an event: 1 where ``wrong``, against 0."""
    return Sides(wrong.double(), torch.zeros(len(wrong), dtype=torch.float64))


def rounding(deviation: Tensor, allowed: float = 1e-10) -> Sides:
    """Sides of an identity: the deviation against what rounding may leave."""
    return Sides(deviation, torch.full_like(deviation, allowed))


def worst(*pairs: tuple[Tensor, Tensor]) -> Sides:
    """Several conclusions about each instance as one: the pair with the largest left/right."""
    left, right = (torch.stack(torch.broadcast_tensors(*side)) for side in zip(*pairs, strict=True))
    chosen = torch.where(left > right, math.inf, left / right.clamp(min=1e-300)).argmax(0)[None]
    return Sides(left.gather(0, chosen)[0], right.gather(0, chosen)[0])


def ratios(*found: Tensor, slack: float = 0.0) -> Sides:
    """Several conclusions left/right ≤ 1 about each instance: the largest against 1 + slack."""
    top = torch.stack(found).amax(0)
    return Sides(top, torch.full_like(top, 1 + slack))


def every(*sides: Sides) -> Sides:
    """Extremal instances of several conclusions: the least tight one counts, and any violation."""
    found = torch.cat([s.left / s.right for s in sides])
    tight = torch.where((found > NEARLY).any(), found.amax(), found.amin())
    return one(tight, 1.0)


def join(*sides: Sides) -> Sides:
    """Several conclusions of one statement; those of one instance become one where they can."""
    return Sides(torch.cat([s.left for s in sides]), torch.cat([s.right for s in sides]))


# Chance

LUCK = 25.0  # a correct statement is refuted by chance with probability below 2·exp(−25)


def chi_square(total: Tensor, freedom: Tensor) -> Sides:
    """Σ over the instances so far of χ² variables against its mean, the degrees of freedom.

    |χ²_D − D| ≤ 2√(Dx) + 2x but with probability 2e^{−x}: Laurent and Massart (2000), Lemma 1,
    doi:10.1214/aos/1015957395. Running sums, so that every instance sharpens the test.
    """
    total, D = total.cumsum(0), freedom.double().cumsum(0)
    return Sides((total - D).abs(), 2 * (D * LUCK).sqrt() + 2 * LUCK)


def luck(draws: Any) -> Any:
    """How far the mean of so many independent numbers in [0, 1] may be off by chance; see LUCK.

    Hoeffding's inequality: by more than √(x/2N) with probability at most 2e^{−x},
    doi:10.1080/01621459.1963.10500830.
    """
    return (LUCK / (2 * draws)) ** 0.5

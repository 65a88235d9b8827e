"""Unions of subspaces: sampled data with known clusters, noise on top of it, and observed data.

Data sets can be taken apart and put together: ``data[trials]``, ``data.scaled(c)``, ``stack``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import _random as rnd
from subspace_lib.rowspace import balanced, rank_of

D = TypeVar("D", bound="UnionOfSubspaces")

TENSORS = ("X", "clean", "bases", "coefficients")  # with a trial axis, where there is one


@dataclass(frozen=True)
class UnionOfSubspaces:
    """Data on (or near) a union of K subspaces: X = X* + Z, X* = [U_1 … U_K] · blockdiag(V_k).

    X: (..., m, n) the data, one point per column; clean: (..., m, n) the signal X*.
    labels: (n,) int64, sorted. bases: (..., m, r), orthonormal columns within each subspace.
    coefficients: (..., r, n), zero outside the diagonal blocks. subspace_dims: r_1, …, r_K.
    trials: the index of every trial, which addresses its random streams.
    noise_variance and convention: how Z was drawn (0 when clean).
    """

    X: Tensor
    clean: Tensor
    labels: Tensor
    bases: Tensor
    coefficients: Tensor
    subspace_dims: tuple[int, ...]
    trials: tuple[int, ...] = (0,)
    noise_variance: float = 0.0
    convention: str = "relative"

    @property
    def rank(self) -> int:
        """r = r_1 + … + r_K, the rank of X* when the subspaces are independent."""
        return sum(self.subspace_dims)

    @property
    def n_clusters(self) -> int:
        return len(self.subspace_dims)

    @property
    def noise(self) -> Tensor:
        """Z = X − X*."""
        return self.X - self.clean

    def __getitem__(self: D, chosen: Any) -> D:
        """Some trials: data[3] is one without a trial axis, data[2:5] and data[[0, 4]] keep it.

        chosen: as NumPy chooses along one axis: a position, a slice, several positions, or one
        boolean per trial. Trials keep their indices, hence their streams.
        Raises TypeError for data without a trial axis, IndexError for trials that are not there.
        """
        if self.X.ndim == 2:
            raise TypeError(
                "data must have a trial axis to choose from; sample_union(..., trials=T) makes one"
            )
        at = _positions(chosen, len(self.X))
        parts = {k: getattr(self, k)[at.to(self.X.device)] for k in TENSORS}
        return replace(self, **parts, trials=tuple(self.trials[i] for i in at.reshape(-1)))

    def scaled(self: D, factor: float) -> D:
        """factor · X* and factor · Z: the same subspaces, points and noise in another unit."""
        c = check.non_negative(factor, "factor")
        parts = {k: c * getattr(self, k) for k in ("X", "clean", "coefficients")}
        if not c or not torch.isfinite(parts["X"]).all():
            raise ValueError(f"factor must be positive, and leave the data finite, got {factor}")
        unit = c * c if self.convention == "absolute" else 1.0
        return replace(self, **parts, noise_variance=unit * self.noise_variance)

    def __repr__(self) -> str:
        dims = ", ".join(map(str, self.subspace_dims))
        noisy = f"{self.convention} noise {self.noise_variance:g}"
        noise = noisy if self.noise_variance else "clean"
        return f"UnionOfSubspaces(X {tuple(self.X.shape)}, subspace dims ({dims}), {noise})"


def sample_union(
    *,
    ambient_dim: int,
    n_subspaces: int | None = None,
    subspace_dim: int | Sequence[int],
    points_per_subspace: int | Sequence[int],
    trials: int | Sequence[int] | None = None,
    seed: int,
    bases: Any = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> UnionOfSubspaces:
    """Sample clean data from a union of random subspaces.

    Each basis is the orthonormalised N(0, 1) matrix (m, r_k), hence a uniformly random subspace,
    unless ``bases`` ((m, r) or (T, m, r)) chooses them; each coefficient is N(0, 1/m).
    trials: None gives X (m, n); an int T gives X (T, m, n); a sequence of indices gives exactly
    those trials of a longer run. Where Σ r_k > m the subspaces are dependent.

    Raises TypeError or ValueError for sizes below 1, r_k > m, or lists of different length.

    >>> sl.sample_union(ambient_dim=30, n_subspaces=3, subspace_dim=2,
    ...                 points_per_subspace=20, trials=5, seed=0)
    UnionOfSubspaces(X (5, 30, 60), subspace dims (2, 2, 2), clean)
    """
    m = check.positive_int(ambient_dim, "ambient_dim")
    dims, counts = _sizes(n_subspaces, subspace_dim, points_per_subspace)
    if max(dims) > m:
        raise ValueError(
            f"subspace_dim must be at most ambient_dim = {m}, got {max(dims)}; "
            f"a subspace cannot be larger than the space around it"
        )
    check.floating(dtype)
    chosen = rnd.trial_indices(trials)
    total = len(chosen) * (m + sum(dims)) * (sum(dims) + 2 * sum(counts))
    check.room(total, "ambient_dim, subspace_dim, points_per_subspace or trials")
    if bases is None:
        gaussian = [rnd.normal((m, r), seed, f"basis {k}", chosen) for k, r in enumerate(dims)]
        U = torch.cat([torch.linalg.qr(G).Q for G in gaussian], -1)
    else:
        U = _given_bases(bases, m, sum(dims), len(chosen))
    V = U.new_zeros(len(chosen), sum(dims), sum(counts))
    row = column = 0
    for k, (r_k, n_k) in enumerate(zip(dims, counts, strict=True)):
        block = rnd.normal((r_k, n_k), seed, f"coefficients {k}", chosen) / m**0.5
        V[:, row : row + r_k, column : column + n_k] = block
        row, column = row + r_k, column + n_k
    U, V = U.to(device, dtype), V.to(device, dtype)
    if trials is None:
        U, V = U[0], V[0]
    X = U @ V
    labels = torch.from_numpy(np.repeat(np.arange(len(dims)), counts)).to(device)
    return UnionOfSubspaces(X, X, labels, U, V, tuple(dims), tuple(chosen))


def add_noise(
    data: UnionOfSubspaces, variance: float, convention: str = "relative", *, seed: int
) -> UnionOfSubspaces:
    """X = X* + Z with Gaussian Z; the clean data stay available as ``.clean``.

    "relative": E‖z_j‖² = variance · mean_j ‖x*_j‖², so 1 means as much noise as signal.
    "absolute": every entry of Z is N(0, variance), the convention printed in the paper; with
    its N(0, 1/m) coefficients, E‖x*_j‖² = r_k/m but E‖z_j‖² = m · variance.
    Adding noise twice replaces the first noise: X is always clean + one draw.

    >>> Z = sl.add_noise(data, variance=0.1, seed=1).noise
    >>> round(float(Z.square().sum() / data.X.square().sum()), 2)
    0.1
    """
    check_data(data)
    variance = check.non_negative(variance, "variance")
    check.one_of(convention, ("relative", "absolute"), "convention")
    clean = data.clean
    Z = rnd.normal(tuple(clean.shape[-2:]), seed, "noise", data.trials).reshape(clean.shape)
    A, unit = balanced(clean if convention == "relative" else torch.ones_like(clean))
    size = A.square().mean((-2, -1), keepdim=True)
    X = clean + Z.to(clean) * (variance * size).sqrt() * unit[..., None, None]
    return replace(data, X=X, noise_variance=variance, convention=convention)


@dataclass(frozen=True, repr=False)
class ObservedData(UnionOfSubspaces):
    """Data whose subspaces nobody knows: "clean" is the best approximation of the chosen rank.

    Made by ``from_matrix``; everything that takes a ``UnionOfSubspaces`` takes it. One space for
    all points, of subspace_dims (rank,), holds the classes that the labels name.
    """

    @property
    def n_clusters(self) -> int:
        return int(self.labels.max()) + 1

    def __repr__(self) -> str:
        X, unit = balanced(self.X)
        outside = (self.noise / unit[..., None, None]).square().sum() / X.square().sum()
        return (
            f"ObservedData(X {tuple(self.X.shape)}, {self.n_clusters} classes, rank {self.rank}, "
            f"{float(outside):.1%} of ‖X‖² outside it)"
        )


def from_matrix(X: Any, labels: Any, rank: int, *, trial: int = 0) -> ObservedData:
    """Real data as training and its diagnostics take them. X: (m, n), one sample per column.

    There is no X* to be known: "clean" becomes the truncated singular value decomposition X_r, the
    rank-r matrix nearest to X (Eckart–Young, doi:10.1007/BF02288367), so that P(X*) is P_r(X), the
    leading row space of the data themselves, and Z = X − X_r. labels: (n,), renumbered 0, …, K−1
    in sorted order. trial: the index of these data among others (splits, say) that ``stack`` joins.
    Everything is float64, on the device of X.

    Raises ValueError for NaN, for labels that do not match the columns, and for a rank above the
    numerical rank of X, where P_r(X) would be arbitrary.

    >>> sl.from_matrix(noisy.X, noisy.labels, rank=6)
    ObservedData(X (30, 60), 3 classes, rank 6, 0.1% of ‖X‖² outside it)
    """
    A = check.single(X, "X").double()
    y = torch.from_numpy(check.label_vector(labels, A.shape[1])).to(A.device)
    r = check.positive_int(rank, "rank")
    U, s, V = torch.linalg.svd(A, full_matrices=False)
    there = int(rank_of(s, max(A.shape), torch.finfo(s.dtype).eps))
    if r > there:
        raise ValueError(f"rank must be at most {there}, the numerical rank of X, got {r}")
    bases, coefficients = U[:, :r], s[:r, None] * V[:r]
    return ObservedData(A, bases @ coefficients, y, bases, coefficients, (r,), (trial,))


def stack(parts: Sequence[D]) -> D:
    """Several data sets as the trials of one: what ``data[trials]`` takes apart.

    Parts without a trial axis are one trial each. They must agree in everything but numbers (in
    real data, equally many points of each class in the same order). Trials keep their indices.
    Raises TypeError for anything but data sets, ValueError where they differ or share an index.
    """
    parts = [check_data(part, "parts") for part in check.several(parts, "parts")]
    if not parts:
        raise ValueError("parts must be at least one data set, got none")
    for i, part in enumerate(parts):
        if _kind(part) != _kind(parts[0]):
            raise ValueError(
                f"data sets must agree in shape, labels, subspace dims, noise, dtype and device to "
                f"be stacked; part 0 is {parts[0]}, part {i} is {part}"
            )
    trials = tuple(t for part in parts for t in part.trials)
    if len(set(trials)) < len(trials):
        raise ValueError(
            f"data sets must have different trial indices to be stacked, got {trials}; "
            f"from_matrix(..., trial=t) numbers them"
        )
    stacks = {k: [getattr(part, k) for part in parts] for k in TENSORS}
    joined = {k: torch.cat([A.reshape(-1, *A.shape[-2:]) for A in s]) for k, s in stacks.items()}
    return replace(parts[0], **joined, trials=trials)  # type: ignore[arg-type]


def check_data(data: D, name: str = "data") -> D:
    """TypeError unless these are data with known clusters."""
    if not isinstance(data, UnionOfSubspaces):
        raise TypeError(
            f"{name} must be a UnionOfSubspaces, got {type(data).__name__}; sample_union makes one"
        )
    return data


def _kind(data: UnionOfSubspaces) -> tuple[Any, ...]:
    """What data sets that are stacked have in common."""
    X, noise = data.X, (data.noise_variance, data.convention)
    labels = tuple(data.labels.tolist())
    return type(data), X.shape[-2:], labels, data.subspace_dims, noise, X.dtype, X.device


def _positions(chosen: Any, trials: int) -> Tensor:
    """The chosen ones of 0..trials−1: () for one, (k,) for several."""
    key = chosen.cpu() if isinstance(chosen, Tensor) else chosen
    try:
        at = np.arange(trials)[key if isinstance(key, slice) else np.asarray(key)]
    except IndexError:
        at = np.zeros(0, dtype=int)
    if at.ndim > 1 or not at.size:
        raise IndexError(
            f"trials must be among 0..{trials - 1}, one or a non-empty list of them or of one "
            f"boolean each, got {chosen!r}"
        )
    return torch.from_numpy(np.array(at))  # a copy: from the end, NumPy's strides are negative


def _sizes(n_subspaces: Any, subspace_dim: Any, points: Any) -> tuple[list[int], list[int]]:
    """Broadcast the two size arguments to K entries each."""
    sizes = {"subspace_dim": subspace_dim, "points_per_subspace": points}
    several = {
        name: check.positive_ints(v, name) if isinstance(v, (Sequence, np.ndarray)) else []
        for name, v in sizes.items()
    }
    given = [len(v) for v in several.values() if v]
    if n_subspaces is None and not given:
        raise ValueError("n_subspaces is missing; give it, or give subspace_dim as a list")
    K = check.positive_int(given[0] if n_subspaces is None else n_subspaces, "n_subspaces")
    check.room(K, "n_subspaces")
    if any(length != K for length in given):
        raise ValueError(
            f"subspace_dim and points_per_subspace must have n_subspaces = {K} entries each "
            f"(or be single numbers), got {given}"
        )
    dims, counts = (several[name] or [check.positive_int(v, name)] * K for name, v in sizes.items())
    return dims, counts


def _given_bases(bases: Any, m: int, r: int, trials: int) -> Tensor:
    U = check.matrix(bases, "bases").double()
    if U.shape not in ((m, r), (trials, m, r)):
        raise ValueError(
            f"bases must have shape ({m}, {r}) = (ambient_dim, sum of subspace_dim), optionally "
            f"with a leading axis of {trials} trials, got {tuple(U.shape)}"
        )
    return U.expand(trials, m, r)

"""Which reference for which layer: the clean signal, the labels, each with and without 1ᵀ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from subspace_lib import _random as rnd
from subspace_lib.bounds import depth_links, divide
from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.networks.base import ACTIVATIONS
from subspace_lib.projectors import containment_distance, row_basis
from subspace_lib.reference import affine_reference, label_reference, reference_bound

LAYERS = ("linear", "linear + bias", "ReLU", "ReLU + bias", "5 ReLU layers")
REFERENCES = ("clean", "clean + 1", "labels", "labels + 1")
SIZES = ("q = k", "q = 2k")


@dataclass(frozen=True)
class Comparison:
    """The book's synthetic data; weights N(0, 2/fan-in), biases as large as the pre-activations.

    bias: the standard deviation of a bias, in units of the root mean square of W X*. noise: log₁₀
    of the relative noise variance.
    """

    trials: int = 100
    points_per_subspace: int = 100
    ambient_dim: int = 400
    width: int = 80
    bias: float = 1.0
    seed: int = 0
    noise: tuple[float, ...] = (-12, -8, -6, -4, -3, -2, -1.5, -1, -0.5, 0)


def settings(config: Comparison) -> list[Setting]:
    return [{"layer": layer, "noise": v} for layer in LAYERS for v in config.noise]


def layer(config: Comparison, name: str, X: Tensor, clean: Tensor, trials: Any) -> Tensor:
    """The last representation (trials, width, n) of the data X; the weights ignore the noise."""
    shape = (config.width, config.ambient_dim)
    draw = {"seed": config.seed, "trials": trials}
    W = rnd.normal(shape, purpose="W1", **draw) * (2 / shape[1]) ** 0.5
    Y = W @ X
    if "bias" in name:
        size = (W @ clean).square().mean((-2, -1), keepdim=True).sqrt()
        Y = Y + config.bias * size * rnd.normal((config.width, 1), purpose="b1", **draw)
    if "ReLU" in name:
        Y = torch.relu(Y)
    for depth in range(2, 6 if name.startswith("5") else 2):
        square = (config.width, config.width)
        W = rnd.normal(square, purpose=f"W{depth}", **draw) * (2 / config.width) ** 0.5
        Y = torch.relu(W @ Y)
    return Y


def references(X: Tensor, clean: Tensor, labels: Tensor, rank: int, dim: int) -> dict[str, Tensor]:
    """REFERENCES → orthonormal rows. The labelled ones see the noisy data X, never the clean."""
    return {
        "clean": row_basis(clean, rank),
        "clean + 1": affine_reference(clean, rank),
        "labels": label_reference(X, labels, dim),
        "labels + 1": label_reference(X, labels, dim, ones=True),
    }


def compute(config: Comparison, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """bound, truth: (trials, references, sizes of q), each in a batch of ten trials."""
    batches = range(0, config.trials, 10)
    found = [
        _batch(config, setting, list(range(i, min(i + 10, config.trials))), device) for i in batches
    ]
    return {name: np.concatenate([part[name] for part in found]) for name in ("bound", "truth")}


def _batch(
    config: Comparison, setting: Setting, trials: list[int], device: str
) -> dict[str, np.ndarray]:
    data = _union(config, trials)
    X = add_noise(data, 10.0 ** setting["noise"], seed=config.seed).X
    Y = layer(config, setting["layer"], X, data.clean, trials).to(device)
    found = references(X, data.clean, data.labels, data.rank, 4)
    return _evaluated([Y], [R.to(device) for R in found.values()], (len(REFERENCES), len(SIZES)))


def _union(config: Any, trials: list[int]) -> UnionOfSubspaces:
    return sample_union(
        ambient_dim=config.ambient_dim,
        n_subspaces=4,
        subspace_dim=4,
        points_per_subspace=config.points_per_subspace,
        trials=trials,
        seed=config.seed,
    )


def _evaluated(
    layers: Sequence[Tensor], references: Sequence[Tensor], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """bound and truth of every layer, reference and size of q: (trials, *shape)."""
    bounds, truths = [], []
    for Y in layers:
        leading = torch.linalg.svd(Y, full_matrices=False).Vh  # a deep layer may lack the rank
        for R in references:
            k = R.shape[-2]
            for q in (k, 2 * k):
                bounds.append(reference_bound(Y, R, q).bound)
                truths.append(containment_distance(R, leading[..., :q, :], k, q))
    arrays = {"bound": torch.stack(bounds, -1), "truth": torch.stack(truths, -1)}
    return {name: A.reshape(len(A), *shape).cpu().numpy() for name, A in arrays.items()}


experiment(
    "reference-comparison",
    "the reference bound and the truth: layers × references × noise",
    quick=Comparison(trials=4, points_per_subspace=40, ambient_dim=100, noise=(-6, -2, -1)),
    full=Comparison(),
    settings=settings,
    compute=compute,
    axes={"*": 1},
)


DEEP = ("orthogonal", "Gaussian", "ReLU", "GELU", "small GELU")


@dataclass(frozen=True)
class Depth:
    """Random networks of up to ``depth`` layers of ``width`` units, without bias.

    Orthonormal rows, N(0, 1/f) or, before ReLU and GELU, N(0, 2/f); the data are scaled so that
    their entries have size one (for "small GELU" ``small``), hence pre-activations of that size.
    """

    trials: int = 20
    depth: int = 20
    points_per_subspace: int = 100
    ambient_dim: int = 400
    width: int = 80
    small: float = 0.05
    seed: int = 0
    noise: tuple[float, ...] = (-6, -2)


def depth_settings(config: Depth) -> list[Setting]:
    return [{"layer": layer, "noise": v} for layer in DEEP for v in config.noise]


def deep_layers(
    config: Depth, name: str, X: Tensor, trials: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """(W_l, Y_l) for l = 1 … depth; ``name`` is one of DEEP."""
    act = ACTIVATIONS[name.split()[-1].lower() if "LU" in name else "identity"]
    layers, Y = [], X
    for depth in range(1, config.depth + 1):
        shape, purpose = (config.width, Y.shape[-2]), f"deep W{depth}"
        W = rnd.normal(shape, seed=config.seed, purpose=purpose, trials=trials)
        if name == "orthogonal":
            W = torch.linalg.qr(W.mT).Q.mT
        else:
            W = W * ((1 if name == "Gaussian" else 2) / shape[1]) ** 0.5
        Y = act(W @ Y)
        layers.append((W, Y))
    return layers


def compute_depth(config: Depth, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """bound, truth: (trials, depth, references, sizes of q), references "clean", "clean + 1".

    chain: (trials, depth), the sum of the depth corollary for the first l layers.
    """
    batches = range(0, config.trials, 5)
    found = [_deep(config, setting, list(range(i, min(i + 5, config.trials)))) for i in batches]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _deep(config: Depth, setting: Setting, trials: list[int]) -> dict[str, np.ndarray]:
    data = _union(config, trials)
    noisy = add_noise(data, 10.0 ** setting["noise"], seed=config.seed)
    unit = data.clean.square().mean((-2, -1), keepdim=True).sqrt()
    unit = unit / config.small if setting["layer"].startswith("small") else unit
    layers = deep_layers(config, setting["layer"], noisy.X / unit, trials)
    gaps, errors = depth_links(data.clean / unit, noisy.noise / unit, layers, data.rank)
    chain = divide(errors, gaps).cumsum(0)[1::2].mT
    both = (row_basis(data.clean, data.rank), affine_reference(data.clean, data.rank))
    shape = (config.depth, len(both), len(SIZES))
    return _evaluated([Y for _, Y in layers], both, shape) | {"chain": chain.numpy()}


experiment(
    "reference-depth",
    "the reference bound, the chain and the truth along twenty random layers",
    quick=Depth(trials=2, depth=4, points_per_subspace=40, ambient_dim=100, noise=(-6,)),
    full=Depth(),
    settings=depth_settings,
    compute=compute_depth,
    axes={"*": 1},
)

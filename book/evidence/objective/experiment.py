"""The same networks trained to reconstruct and to classify: chapter 16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.paper import HALF_LAYER, SMALL, PaperConfig, paper_data
from subspace_lib import diagnostics as measure
from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.networks import FeedForward
from subspace_lib.projectors import row_basis
from subspace_lib.training import train
from subspace_lib.trajectory import Checkpoint

# (settings, checkpoints, trials) each
FOLLOWED = (
    "clean_to_post_max", "clean_to_post_spectral", "clean_to_post_fro",
    "share_r", "share_r1", "share_2r",
    "labels_K", "labels_r", "labels_all", "labels_to_post_spectral", "dead_units",
    "spectral_acc_r", "spectral_acc_K", "acc_r", "acc_K", "accuracy", "held_out",
)  # fmt: skip


@dataclass(frozen=True)
class Config(PaperConfig):
    """The paper's sizes; ``marks``: the checkpoints, the last one ends the run."""

    steps: int = 200
    checkpoints: int = 6
    marks: tuple[int, ...] = (0, 1, 10, 30, 100, 200)
    variance: float = 0.1
    lr: float = 0.003


def settings(config: Config) -> list[Setting]:
    """Every network under both objectives; the last two at data of 20 times the size."""
    networks = (("relu", True, 1), ("relu", False, 1), ("identity", False, 1), ("relu", True, 20))
    return [
        {"objective": o, "activation": a, "bias": b, "scale": s}
        for a, b, s in networks
        for o in ("reconstruct", "classify")
    ]


def indicators(labels: Tensor) -> Tensor:
    """(K, n): the indicator of each class, of length 1. labels: (n,), integers below K."""
    L = torch.nn.functional.one_hot(labels).mT.double()
    return L / L.sum(1, keepdim=True).sqrt()


def share_inside(R: Tensor, V: Tensor) -> Tensor:
    """‖R Vᵀ‖_F² / rows of R: the part of span R inside span V; both have orthonormal rows."""
    return (V @ R.mT).square().sum((-2, -1)) / R.shape[-2]


def describe(
    Y: Tensor, clean: Tensor, labels: Tensor, rank: int, cluster: bool
) -> dict[str, Tensor]:
    """What the representation Y (c, p, n) holds of the signal and of the labels; (c,) each.

    clean: (c, r, n), an orthonormal basis of row(X*). A trial of which fewer directions are alive
    than asked for is measured on those that its singular vectors happen to give; it is counted by
    ``dead_units``.
    """
    L, K = indicators(labels), int(labels.max()) + 1
    V = torch.linalg.svd(Y, full_matrices=False).Vh
    s = torch.linalg.svdvals(Y)
    alive = V * (s > 1e-10 * s[:, :1])[..., None]
    found = {
        f"clean_to_post_{norm}": value
        for norm, value in measure.distance(clean, V[:, :rank]).items()
    }
    for name, q in (("r", rank), ("r1", rank + 1), ("2r", 2 * rank)):
        found[f"share_{name}"] = share_inside(clean, V[:, :q])
    for name, B in (("K", V[:, :K]), ("r", V[:, :rank]), ("all", alive)):
        found[f"labels_{name}"] = share_inside(L, B)
    out = L - (L @ V[:, :K].mT) @ V[:, :K]
    found["labels_to_post_spectral"] = torch.linalg.matrix_norm(out, 2)
    found["dead_units"] = (Y.abs().amax(-1) == 0).double().sum(-1)
    for name, q in (("r", rank), ("K", K)):
        for kind, method in (("spectral_acc", measure.spectral_clusters),
                             ("acc", measure.single_linkage_labels)):  # fmt: skip
            value = torch.full((len(Y),), torch.nan, dtype=Y.dtype, device=Y.device)
            if cluster:
                value = measure.scores(labels, method(V[:, :q], K), K)["acc"]
            found[f"{kind}_{name}"] = value
    return found


def scaled(data: UnionOfSubspaces, factor: float) -> UnionOfSubspaces:
    return replace(data, X=factor * data.X, clean=factor * data.clean)


def held_out(data: UnionOfSubspaces, config: Config, device: str) -> UnionOfSubspaces:
    """As many new points of the same subspaces, with their own noise."""
    fresh = sample_union(
        ambient_dim=config.ambient_dim, n_subspaces=config.n_subspaces,
        subspace_dim=config.subspace_dim, points_per_subspace=config.points_per_subspace,
        trials=data.trials, seed=config.seed + 3, bases=data.bases, device=device,
    )  # fmt: skip
    return add_noise(fresh, config.variance, seed=config.seed + 4)


def follow(
    network: FeedForward, data: UnionOfSubspaces, marks: Sequence[int], seed: int, **options: Any
) -> list[Checkpoint]:
    """The network at each mark; the last mark ends the run."""
    options |= {"steps": marks[-1], "checkpoints": marks, "seed": seed, "progress": False}
    return train(network, data, keep=True, **options).checkpoints


def network_for(config: Any, setting: Setting) -> FeedForward:
    outputs = config.n_subspaces if setting["objective"] == "classify" else config.ambient_dim
    widths = (config.ambient_dim, config.hidden, outputs)
    return FeedForward(widths, activation=setting["activation"], bias=setting["bias"])


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, trials) each, of the hidden layer; loss, steps, diverged (trials,).

    Clusters are read at the first and the last checkpoint only, NaN between them. ``accuracy`` and
    ``held_out`` are those of the network's own logits, NaN when it reconstructs.
    """
    data = scaled(paper_data(config, config.variance, device=device), setting["scale"])
    test = scaled(held_out(data, config, device), setting["scale"])
    network, objective = network_for(config, setting), setting["objective"]
    run = follow(
        network, data, config.marks, config.seed + 2, objective=objective, optimizer="adam",
        lr=config.lr, normalize="data", device=device,
    )  # fmt: skip
    clean = row_basis(data.clean, data.rank)
    rows: list[dict[str, Any]] = []
    for i, now in enumerate(run):
        weights = {name: p.double() for name, p in now.params.items()}
        Y = network.layers(weights, data.X)[0].post
        ends = i in (0, len(run) - 1)
        row: dict[str, Any] = describe(Y, clean, data.labels, data.rank, ends)
        row["held_out"] = torch.full_like(row["share_r"], torch.nan)
        if objective == "classify":
            guess = network.output(weights, test.X).argmax(-2)
            row["held_out"] = (guess == test.labels).double().mean(-1)
        rows.append(row | {"accuracy": now.accuracy, "loss": now.loss})
    arrays = {
        name: np.stack([np.asarray(torch.as_tensor(row[name]).cpu()) for row in rows])
        for name in (*FOLLOWED, "loss")
    }
    kept = {name: values.astype(np.float32) for name, values in arrays.items()}
    gone = np.asarray(~np.isfinite(kept["loss"]).all(0))
    return kept | {"steps": np.array(config.marks), "diverged": gone}


experiment(
    "objective",
    "The same networks trained to reconstruct and to classify (chapter 16)",
    quick=Config(trials=3, hidden=16, steps=60, checkpoints=3, marks=(0, 10, 60), **SMALL),
    full=Config(),
    half=HALF_LAYER,
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)

"""The same networks trained to reconstruct and to classify: chapter 16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.measures import indicators, linkage_accuracy, share_inside, spectral_accuracy
from evidence.setting import (
    HALF_LAYER,
    SMALL,
    PaperConfig,
    follow,
    held_out,
    in_norms,
    names,
    paper_data,
    single,
)
from subspace_lib import rowspace
from subspace_lib.networks import FeedForward
from subspace_lib.projectors import row_basis

# (settings, checkpoints, trials) each
FOLLOWED = (
    *in_norms("clean_to_post"),
    *names(
        "share_r share_r1 share_2r",
        "labels_K labels_r labels_all labels_to_post_spectral dead_units",
        "spectral_acc_r spectral_acc_K acc_r acc_K accuracy held_out",
    ),
)


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
    found = {f"clean_to_post_{k}": v for k, v in rowspace.distances(clean, V[:, :rank]).items()}
    for name, q in (("r", rank), ("r1", rank + 1), ("2r", 2 * rank)):
        found[f"share_{name}"] = share_inside(clean, V[:, :q])
    for name, B in (("K", V[:, :K]), ("r", V[:, :rank]), ("all", alive)):
        found[f"labels_{name}"] = share_inside(L, B)
    out = L - (L @ V[:, :K].mT) @ V[:, :K]
    found["labels_to_post_spectral"] = torch.linalg.matrix_norm(out, 2)
    found["dead_units"] = (Y.abs().amax(-1) == 0).double().sum(-1)
    nothing = torch.full_like(found["dead_units"], torch.nan)
    for name, q in (("r", rank), ("K", K)):
        for kind, acc in (("spectral_acc", spectral_accuracy), ("acc", linkage_accuracy)):
            found[f"{kind}_{name}"] = acc(V[:, :q], labels) if cluster else nothing
    return found


def network_for(config: Any, setting: Setting) -> FeedForward:
    outputs = config.n_subspaces if setting["objective"] == "classify" else config.ambient_dim
    widths = (config.ambient_dim, config.hidden, outputs)
    return FeedForward(widths, activation=setting["activation"], bias=setting["bias"])


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED, (checkpoints, trials) each, of the hidden layer; loss, steps, diverged (trials,).

    Clusters are read at the first and the last checkpoint only, NaN between them. ``accuracy`` and
    ``held_out`` are those of the network's own logits, NaN when it reconstructs.
    """
    data = paper_data(config, config.variance, device=device)
    test = held_out(data, config, config.variance).scaled(setting["scale"])
    data = data.scaled(setting["scale"])
    network, objective = network_for(config, setting), setting["objective"]
    options = {"objective": objective, "optimizer": "adam", "lr": config.lr, "normalize": "data"}
    run = follow(network, data, config.marks, config.seed + 2, **options)
    clean = row_basis(data.clean, data.rank)
    rows: list[dict[str, Any]] = []
    for now in run:
        weights = {name: p.double() for name, p in now.params.items()}
        Y = network.layers(weights, data.X)[0].post
        ends = now is run[0] or now.last
        row: dict[str, Any] = describe(Y, clean, data.labels, data.rank, ends)
        row["held_out"] = torch.full_like(row["share_r"], torch.nan)
        if objective == "classify":
            guess = network.output(weights, test.X).argmax(-2)
            row["held_out"] = (guess == test.labels).double().mean(-1)
        rows.append(row | {"accuracy": now.accuracy, "loss": now.loss})
    kept = single(
        {
            name: np.stack([np.asarray(torch.as_tensor(row[name]).cpu()) for row in rows])
            for name in (*FOLLOWED, "loss")
        }
    )
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

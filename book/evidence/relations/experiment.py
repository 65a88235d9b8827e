"""What neighbouring theories say of the same training runs: chapter 27."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.measures import accuracy, indicators, share_inside
from evidence.relations.measures import neural_collapse, sharpness
from evidence.self_expression.methods import METHODS, find_clusters
from evidence.setting import PaperConfig, follow, held_out, names, paper_data, single
from subspace_lib import rowspace
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.networks import FeedForward, Params
from subspace_lib.projectors import row_basis

# (settings, checkpoints, layers, trials) each
LAYERWISE = names(
    "share_K share_r share_r1 spectral labels_K allowed_K heard rank",
    "variability scatter norms angles nearest",
)
# (settings, checkpoints, trials) each
OVERALL = names("duality disagree sharpness weight_norm loss accuracy held_loss held_accuracy")
ENERGY = 0.99  # of ‖Y‖_F², held by ``rank`` directions


@dataclass(frozen=True)
class Config(PaperConfig):
    """A smaller union than the paper's, so that training can go on until it collapses.

    Three hidden layers: one cannot collapse on data that come in pairs ±x. The points have mean
    square length one. lanczos: products with the Hessian in one value of the sharpness.
    """

    trials: int = 20
    ambient_dim: int = 100
    points_per_subspace: int = 50
    hidden: int = 64
    steps: int = 3000
    checkpoints: int = 7
    marks: tuple[int, ...] = (0, 10, 30, 100, 300, 1000, 3000)
    variance: float = 0.1  # each setting has its own
    lanczos: int = 15
    penalty: float = 0.1


# optimiser, learning rate, weight decay, noise. Gradient descent from a small rate up to one at
# which it can only stay where the loss is flat.
RUNS = (
    ("adam", 0.003, 0.0, 0.1),
    ("adam", 0.003, 1e-4, 0.1),
    ("adam", 0.003, 1e-4, 1.0),
    ("adam", 0.001, 0.0, 0.1),
    ("gd", 0.1, 0.0, 0.1),
    ("gd", 0.3, 0.0, 0.1),
    ("gd", 0.8, 0.0, 0.1),
)


def settings(config: Config) -> list[Setting]:
    return [
        {"objective": objective, "optimizer": rule, "lr": lr, "decay": decay, "noise": noise}
        for objective in ("classify", "reconstruct")
        for rule, lr, decay, noise in RUNS
    ]


def clustered(setting: Setting) -> bool:
    """Whether all methods of subspace clustering are run on this network; they take their time."""
    return setting["decay"] > 0


def network_for(config: Any, setting: Setting) -> FeedForward:
    outputs = config.n_subspaces if setting["objective"] == "classify" else config.ambient_dim
    return FeedForward((config.ambient_dim, *[config.hidden] * 3, outputs), bias=True)


def unions(
    config: Any, noise: float, device: str = "cpu"
) -> tuple[UnionOfSubspaces, UnionOfSubspaces]:
    """The data and as many new points of the same subspaces, mean square length (of X*) one."""
    size = (config.ambient_dim / config.subspace_dim) ** 0.5
    data = paper_data(config, noise, device=device)
    return data.scaled(size), held_out(data, config, noise).scaled(size)


def loss_of(network: FeedForward, params: Params, data: UnionOfSubspaces) -> Tensor:
    """The loss that is trained, without weight decay: (trials,)."""
    out = network.output(params, data.X)
    if network.outputs == network.inputs:
        return (out - data.X).square().sum((-2, -1)) / data.X.square().sum((-2, -1))
    right = torch.log_softmax(out, -2)[:, data.labels, torch.arange(len(data.labels))]
    return -right.mean(-1)


def describe(Y: Tensor, V: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """LAYERWISE of one layer Y (c, p, n); (c,) each. V: (c, r, n), orthonormal rows of row(X*).

    allowed_K, heard: the right side of Theorem 27.1 (b) at q = K, and left by right of (a); so
    share_K ≤ allowed_K and heard ≤ 1.
    """
    L, K, r = indicators(labels).to(Y), int(labels.max()) + 1, V.shape[-2]
    _, s, W = torch.linalg.svd(Y, full_matrices=False)
    E = Y - (Y @ L.mT) @ L
    inside = (L @ V.mT).square().sum((-2, -1)).sqrt()
    rho = torch.linalg.matrix_norm(E) / s[:, K - 1]
    energy = s.square().cumsum(-1) / s.square().sum(-1, keepdim=True)
    signal = torch.linalg.svdvals(Y @ V.mT)
    collapse = neural_collapse(Y, labels)
    return {
        **{f"share_{k}": share_inside(V, W[:, :q]) for k, q in (("K", K), ("r", r), ("r1", r + 1))},
        "spectral": rowspace.distance(V, W[:, :r], "spectral"),
        "labels_K": share_inside(L, W[:, :K]),
        "allowed_K": (inside + rho).square() / r,
        "heard": signal[:, K] / torch.linalg.matrix_norm(E, 2),
        "rank": (energy < ENERGY).sum(-1) + 1.0,
        **{k: getattr(collapse, k) for k in names("variability scatter norms angles nearest")},
    }


def overall(
    network: FeedForward,
    params: Params,
    data: UnionOfSubspaces,
    test: UnionOfSubspaces,
    lanczos: int,
) -> dict[str, Tensor]:
    """OVERALL but for loss and accuracy; (trials,) each, NaN for what only classifiers have."""

    def loss(weights: Params) -> Tensor:
        return loss_of(network, weights, data)

    square = torch.stack([p.flatten(1).square().sum(1) for p in params.values()]).sum(0)
    missing = torch.full_like(square, torch.nan)
    found = dict.fromkeys(("duality", "disagree", "held_accuracy"), missing)
    found["sharpness"] = sharpness(loss, params, iterations=lanczos)
    found["weight_norm"] = square.sqrt()
    found["held_loss"] = loss_of(network, params, test)
    if network.outputs != network.inputs:
        guess = network.output(params, data.X).argmax(-2)
        Y, D = network.layers(params, data.X)[-1].post, params[f"W{network.depth + 1}"]
        collapse = neural_collapse(Y, data.labels, D, guess)
        hits = network.output(params, test.X).argmax(-2) == test.labels
        found["duality"], found["disagree"] = collapse.duality, collapse.nearest  # type: ignore
        found["held_accuracy"] = hits.double().mean(-1)
    return found


def accuracies(config: Config, layers: list[Tensor], data: UnionOfSubspaces) -> np.ndarray:
    """ACC of every method on the data and on every layer: (methods, 1 + layers, trials)."""
    K = data.n_clusters
    rows = []
    for Y in [data.X, *layers]:
        found = find_clusters(Y, K, data.rank, config.penalty)
        rows.append([accuracy(data.labels, found[name]).cpu().numpy() for name in METHODS])
    return np.array(rows).swapaxes(0, 1)


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """LAYERWISE (checkpoints, layers, trials), OVERALL (checkpoints, trials), acc (methods,
    1 + layers, trials) at the end (NaN where not ``clustered``), label_share (trials,) = Σ a_k,
    steps, diverged (trials,).
    """
    data, test = unions(config, setting["noise"], device)
    network = network_for(config, setting)
    options = {"objective": setting["objective"], "optimizer": setting["optimizer"]}
    options |= {"lr": setting["lr"], "weight_decay": setting["decay"], "normalize": "data"}
    run = follow(network, data, config.marks, config.seed + 2, **options)
    V = row_basis(data.clean, data.rank)
    layered: list[dict[str, np.ndarray]] = []
    whole: list[dict[str, np.ndarray]] = []
    for now in run:
        gone = torch.from_numpy(~np.isfinite(now.loss)).to(device)
        weights = {k: p.double().clone() for k, p in now.params.items()}
        for p in weights.values():
            p[gone] = 0.0  # measured as a network of zeros, and struck out below
        layers = [layer.post for layer in network.layers(weights, data.X)]
        rows = [describe(Y, V, data.labels) for Y in layers]
        stacked = {k: torch.stack([row[k] for row in rows]) for k in LAYERWISE}
        layered.append({k: _without(v, gone) for k, v in stacked.items()})
        found = overall(network, weights, data, test, config.lanczos)
        own = {"loss": now.loss, "accuracy": now.accuracy}
        whole.append({k: _without(v, gone) for k, v in found.items()} | own)
    acc = np.full((len(METHODS), 1 + network.depth, config.trials), np.nan)
    if clustered(setting):
        with warnings.catch_warnings():  # equal points: k-means finds fewer distinct ones
            warnings.simplefilter("ignore")
            acc = accuracies(config, layers, data)
    arrays = {k: np.stack([row[k] for row in layered]) for k in LAYERWISE}
    arrays |= {k: np.stack([row[k] for row in whole]) for k in OVERALL}
    L = indicators(data.labels)
    shares = (L @ V.mT).square().sum((-2, -1)).cpu().numpy()
    kept = single(arrays | {"acc": acc, "label_share": shares})
    gone_ever = ~np.isfinite(arrays["loss"]).all(0)
    return kept | {"steps": np.array(config.marks), "diverged": gone_ever}


def _without(values: Tensor, gone: Tensor) -> np.ndarray:
    return values.masked_fill(gone, torch.nan).cpu().numpy()


experiment(
    "relations",
    "Subspace clustering, neural collapse and sharpness of the same networks (chapter 27)",
    quick=Config(
        trials=3,
        ambient_dim=24,
        n_subspaces=3,
        subspace_dim=2,
        points_per_subspace=15,
        hidden=16,
        steps=60,
        checkpoints=3,
        marks=(0, 10, 60),
    ),
    full=Config(),
    half={"ambient_dim": 50, "subspace_dim": 2, "points_per_subspace": 25, "hidden": 32},
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None},
)

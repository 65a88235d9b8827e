"""Non-negative features in practice: how a network on real measurements should start (chapter 22).

Every trial has its own stratified split and its own weights; all starts of a trial are made from
the same uniform numbers, so that they can be compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from evidence.datasets import load_dataset
from evidence.experiment import Setting, experiment
from evidence.measures import spectral_accuracy
from evidence.setting import names, single
from subspace_lib import _checks as check
from subspace_lib import _random as rnd
from subspace_lib import rowspace
from subspace_lib.data import ObservedData, from_matrix, stack
from subspace_lib.networks import FeedForward, Params
from subspace_lib.training import train
from subspace_lib.trajectory import Trajectory

SCALINGS = ("unit", "raw", "standard")
POSITIVE = names("uniform uniform-first absolute absolute-first absolute-hidden mean mean-first")
REMEDIES = ("centred", "shifted", "orthogonal-shifted")
STARTS = ("usual", *POSITIVE, *REMEDIES)
RECONSTRUCTED = ("usual", "uniform", "absolute", "absolute-first", "mean", "shifted")
# of ‖X‖²: more than nine tenths of it, checked in the chapter; at least one per class but one
RANKS = {"digits": 16, "wine": 6, "breast_cancer": 6}
TRAINED_ON = {"digits": 1 / 3, "wine": 2 / 3, "breast_cancer": 2 / 3}
# Levels of the loss, relative to that of a constant prediction (log K; ‖X‖² to reconstruct)
LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005)
NEVER = -1
LAYERS = ("first", "last")  # hidden layer; the same one where there is but one
FOLLOWED = ("dead_share", "negative_share", "participation", "condition", "share_r1")
COVERAGE = 0.95


@dataclass(frozen=True)
class Config:
    """Full-batch training, so that a step is an epoch; two hundred, as the paper's real data.

    adam, gd: the learning rates, every start at each of them.
    """

    trials: int = 20
    width: int = 32
    steps: int = 200
    marks: tuple[int, ...] = (0, 1, 3, 10, 30, 100, 200)
    datasets: tuple[str, ...] = ("digits", "wine", "breast_cancer")
    adam: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    gd: tuple[float, ...] = (0.001, 0.01, 0.1, 0.3, 1.0)
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    """Classifiers with one and three hidden layers by both optimisers, then the variants."""

    def block(starts: Sequence[str], **fixed: Any) -> list[Setting]:
        base = {"scaling": "unit", "hidden": 1, "bias": True, "objective": "classify"}
        base |= {"optimizer": "adam"} | fixed
        rates = config.adam if base["optimizer"] == "adam" else config.gd
        return [{**base, "init": init, "lr": lr} for init in starts for lr in rates]

    shallow = tuple(s for s in STARTS if s != "absolute-hidden")  # absolute-first, there
    found: list[Setting] = []
    for data in config.datasets:
        for optimizer in ("adam", "gd"):
            for hidden, starts in ((1, shallow), (3, STARTS)):
                found += block(starts, data=data, optimizer=optimizer, hidden=hidden)
                standard = {"optimizer": optimizer, "hidden": hidden, "scaling": "standard"}
                found += block(["usual"], data=data, **standard)
        found += block(RECONSTRUCTED, data=data, objective="reconstruct")
    last = config.datasets[-1]
    found += block([s for s in shallow if "shifted" not in s], data=last, bias=False)
    return found + block(shallow, data=last, scaling="raw")


@cache
def _loaded(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels, the points in the order of their classes."""
    data = load_dataset(name)
    order = np.argsort(data.labels, kind="stable")
    return data.X[:, order], data.labels[order]


def _split(labels: np.ndarray, share: float, seed: int, trial: int) -> tuple[np.ndarray, ...]:
    """Columns to train on and to hold out, each class divided in the same proportion."""
    g = rnd.generator(seed, "split", trial)
    inside, outside = [], []
    for k in np.unique(labels):
        own = g.permutation(np.flatnonzero(labels == k))
        cut = round(share * len(own))
        inside.append(np.sort(own[:cut]))
        outside.append(np.sort(own[cut:]))
    return np.concatenate(inside), np.concatenate(outside)


def _scaled(X: np.ndarray, train_columns: np.ndarray, scaling: str) -> np.ndarray:
    """Features scaled by the statistics of the training columns; constant ones become 0."""
    check.one_of(scaling, SCALINGS, "scaling")
    if scaling == "raw":
        return X
    own = X[:, train_columns]
    if scaling == "unit":
        shift, size = own.min(1, keepdims=True), np.ptp(own, 1)[:, None]
    else:
        shift, size = own.mean(1, keepdims=True), own.std(1)[:, None]
    return np.where(size > 0, (X - shift) / np.where(size > 0, size, 1), 0.0)


def splits(
    name: str, *, scaling: str = "unit", trials: int | tuple[int, ...], seed: int = 0
) -> tuple[ObservedData, ObservedData]:
    """Training and held-out data with a trial axis: X (trials, m, n), labels (n,) common to all.

    scaling: "unit" (to [0, 1] on the training columns; a held-out value may fall outside), "raw"
    or "standard" (mean 0, variance 1). The rank is RANKS[name]. Trial t alone is trial t of 20.
    """
    return _splits(name, scaling, trials, seed)


@lru_cache(maxsize=2)
def _splits(
    name: str, scaling: str, trials: int | tuple[int, ...], seed: int
) -> tuple[ObservedData, ObservedData]:
    X, labels = _loaded(name)
    chosen = rnd.trial_indices(trials)
    parts: tuple[list[ObservedData], list[ObservedData]] = ([], [])
    for t in chosen:
        columns = _split(labels, TRAINED_ON[name], seed, t)
        A = _scaled(X, columns[0], scaling)
        for found, own in zip(parts, columns, strict=True):
            found.append(from_matrix(A[:, own], labels[own], RANKS[name], trial=t))
    return stack(parts[0]), stack(parts[1])


def network_for(config: Config, setting: Setting) -> FeedForward:
    m, K = len(_loaded(setting["data"])[0]), int(_loaded(setting["data"])[1].max()) + 1
    out = K if setting["objective"] == "classify" else m
    return FeedForward((m, *[config.width] * setting["hidden"], out), bias=setting["bias"])


def start(network: FeedForward, name: str, X: Tensor, *, trials: Any, seed: int) -> Params:
    """Initial parameters. X: (trials, m, n), the training data, which the shifted starts look at.

    With f the fan-in of a weight and u its own uniform numbers on (−1, 1):
      "usual"             u/√f
      "uniform"           |u|, the paper's uniform(0, 1)
      "absolute"          |u|/√f, the absolute values of the usual start
      "mean"              2|u|/f, of mean 1/f: a unit answers with about the mean of its inputs
      "…-first"           so in the first layer only, the others usual
      "absolute-hidden"   so in all layers but the readout
      "centred"           2|u|/√f less the mean of its row: as large as usual, and blind to 1
      "shifted"           usual, the biases just so large that no pre-activation of X is negative
      "orthogonal-shifted"  the same with orthonormal rows (columns where W is tall)
    Biases are zero but for the last two. Raises ValueError for another name, or no bias to shift.
    """
    check.one_of(name, STARTS, "init")
    kind, _, scope = name.partition("-")
    base = "orthogonal" if kind == "orthogonal" else "usual"
    params = network.init(base, trials=trials, seed=seed)
    weights = [key for key in params if key.startswith("W")]
    scopes = {"first": weights[:1], "hidden": weights[:-1]}
    for key in scopes.get(scope, weights):
        f = params[key].shape[-1]
        u = params[key] * f**0.5
        if kind == "uniform":
            params[key] = u.abs()
        elif kind == "absolute":
            params[key] = u.abs() / f**0.5
        elif kind == "mean":
            params[key] = 2 * u.abs() / f
        elif kind == "centred":
            params[key] = 2 * (u.abs() - u.abs().mean(-1, keepdim=True)) / f**0.5
    return _opened(network, params, X) if name.endswith("shifted") else params


def _opened(network: FeedForward, params: Params, X: Tensor) -> Params:
    """Biases of the hidden layers such that each unit's smallest pre-activation on X is zero."""
    if not network.bias:
        raise ValueError("a shifted start needs biases; use FeedForward(…, bias=True)")
    Y = X.to(params["W1"])
    for i in range(1, network.depth + 1):
        pre = params[f"W{i}"] @ Y  # (T, p, n)
        lowest = pre.amin(-1)
        # a hair more than needed, so that rounding leaves no pre-activation below zero
        params[f"b{i}"] = -lowest + 1e-6 * pre.abs().amax(-1)
        Y = pre + params[f"b{i}"][..., None]
    return params


def row_space(data: ObservedData) -> Tensor:
    """Orthonormal rows spanning the leading row space of the data, (trials, r, n)."""
    C = data.coefficients  # orthogonal rows of length s_j
    return C / torch.linalg.vector_norm(C, dim=-1, keepdim=True)


def describe(pre: Tensor, Y: Tensor, R: Tensor) -> dict[str, Tensor]:
    """FOLLOWED of one layer, (trials,) each. pre, Y: (trials, p, n); R: (trials, r, n), of P_r(X).

    dead_share: units that are zero at every training point; negative_share: of the pre-activations;
    participation: (Σλ_j)²/Σλ_j² with λ_j the eigenvalues of YYᵀ, an effective rank; condition:
    λ_1/λ_r, infinite where the rank is below r; share_r1: the share of P_r(X) in the top r + 1.
    """
    r = R.shape[-2]
    space = rowspace.factor(Y, min(r + 1, *Y.shape[-2:]), gram=True)
    G = Y @ Y.mT  # Σλ and Σλ² need no decomposition
    total = Y.square().sum((-2, -1))
    ratio = space.s[..., r - 1] / space.s[..., 0]  # NaN where all units are dead
    return {
        "dead_share": (Y == 0).all(-1).double().mean(-1),
        "negative_share": (pre < 0).double().mean((-2, -1)),
        "participation": torch.where(total > 0, total**2 / G.square().sum((-2, -1)), 0.0),
        "condition": torch.where(ratio > space.eps, ratio**-2, torch.inf),
        "share_r1": (space.V @ R.mT).square().sum((-2, -1)) / r,
    }


def gradient_norm(network: FeedForward, params: Params, data: ObservedData, objective: str) -> Any:
    """‖∇L‖ of all parameters at the start, (trials,), with the loss normalised as in training."""
    leaves = {key: p.detach().double().requires_grad_() for key, p in params.items()}
    out = network.output(leaves, data.X)
    if objective == "classify":
        logp = torch.log_softmax(out, -2)
        loss = -logp.gather(-2, data.labels.expand(len(out), 1, -1)).mean((-2, -1))
    else:
        loss = (out - data.X).square().sum((-2, -1)) / data.X.square().sum((-2, -1))
    grads = torch.autograd.grad(loss.sum(), list(leaves.values()))
    return torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()


def follow(
    config: Config, setting: Setting, data: ObservedData, device: str = "cpu"
) -> tuple[FeedForward, Trajectory, list[Params]]:
    """The network, its run, and its parameters at every mark, where the data are."""
    network = network_for(config, setting)
    first = start(network, setting["init"], data.X, trials=data.trials, seed=config.seed + 1)
    options = {"objective": setting["objective"], "optimizer": setting["optimizer"]}
    options |= {"lr": setting["lr"], "normalize": "data", "device": device, "progress": False}
    marks = config.marks
    run = train(network, data, init=first, steps=marks[-1], checkpoints=marks, keep=True, **options)
    kept = [{key: p.to(data.X.device) for key, p in params.items()} for params in run.kept]
    return network, run, kept


def _answers(network: FeedForward, params: Params, data: ObservedData, objective: str) -> Tensor:
    """Accuracy, or ‖X̂ − X‖²/‖X‖² to reconstruct: (trials,), NaN where the output is not finite."""
    out = network.output(params, data.X)
    fine = torch.isfinite(out).all(-1).all(-1)
    if objective == "classify":
        value = (out.argmax(-2) == data.labels).double().mean(-1)
    else:
        value = (out - data.X).square().sum((-2, -1)) / data.X.square().sum((-2, -1))
    return torch.where(fine, value, torch.nan)


def measured(
    network: FeedForward, params: Params, data: ObservedData, test: ObservedData, objective: str
) -> dict[str, np.ndarray]:
    """What is known at one checkpoint: FOLLOWED (layers, trials), accuracy and held_out."""
    own = {key: p.double() for key, p in params.items()}
    fine = torch.stack([torch.isfinite(p.flatten(1)).all(1) for p in own.values()]).all(0)
    safe = {key: torch.where(torch.isfinite(p), p, 0.0) for key, p in own.items()}
    seen = network.layers(safe, data.X)
    R = row_space(data)
    layers = seen[:1] if len(seen) == 1 else [seen[0], seen[-1]]
    values = [describe(torch.as_tensor(layer.pre), layer.post, R) for layer in layers]
    row = {
        name: np.stack([torch.where(fine, v[name], torch.nan).numpy() for v in values * 2])[:2]
        for name in FOLLOWED
    }
    row["accuracy"] = _answers(network, own, data, objective).numpy()
    row["held_out"] = _answers(network, own, test, objective).numpy()
    return row


def steps_to(history: np.ndarray, chance: float) -> np.ndarray:
    """First epoch at which the loss is at most LEVELS · chance, (levels, trials); NEVER."""
    below = history[None] <= chance * np.array(LEVELS)[:, None, None]
    return np.where(below.any(1), below.argmax(1), NEVER).astype(np.int16)


def median_interval(values: np.ndarray, coverage: float = COVERAGE) -> np.ndarray:
    """(3, …): an interval for the median, and the median between its ends, over the last axis.

    From order statistics, hence exact for independent draws from any continuous distribution and
    without random numbers: [x_(k), x_(n+1−k)] misses the median with probability
    2·P(Bin(n, ½) < k); k is the largest for which this is at most 1 − coverage. Below six values
    no interval covers 95 %: the whole range is returned, which covers less. NaN counts as +∞.
    """
    x = np.sort(np.where(np.isnan(values), np.inf, values), -1)
    n = x.shape[-1]
    k = _order(n, coverage)
    with np.errstate(invalid="ignore"):
        middle = np.median(x, -1)
    return np.stack([x[..., k - 1], middle, x[..., n - k]])


@cache
def _order(n: int, coverage: float) -> int:
    return max(1, int(binom.ppf((1 - coverage) / 2, n, 0.5)))


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """loss, accuracy, held_out: (checkpoints, trials), the latter two relative errors to
    reconstruct; FOLLOWED: (checkpoints, layers, 3), interval and median over the trials;
    reached: (levels, trials); gradient (trials,) at the start; clusters, data_clusters (trials,):
    spectral clustering of P_r of the last hidden layer at the start, and of P_r(X), once per start.
    """
    options = {"scaling": setting["scaling"], "trials": config.trials, "seed": config.seed}
    data, test = splits(setting["data"], **options)
    network, run, stages = follow(config, setting, data, device)
    objective = setting["objective"]
    rows = [measured(network, params, data, test, objective) for params in stages]
    chance = float(np.log(data.n_clusters)) if objective == "classify" else 1.0
    found: dict[str, Any] = {
        name: np.stack([row[name] for row in rows]) for name in ("accuracy", "held_out")
    }
    found["loss"] = run.loss
    for name in FOLLOWED:
        found[name] = np.stack([median_interval(row[name]).T for row in rows])
    found["gradient"] = gradient_norm(network, stages[0], data, objective).numpy()
    found |= _start_clusters(config, setting, network, stages[0], data)
    return single(found) | {
        "reached": steps_to(run.history, chance),
        "steps": np.array(config.marks),
    }


def _start_clusters(
    config: Config, setting: Setting, network: FeedForward, params: Params, data: ObservedData
) -> dict[str, np.ndarray]:
    nothing = np.full(len(data.X), np.nan)
    rate = config.adam[0] if setting["optimizer"] == "adam" else None
    if setting["lr"] != rate or setting["objective"] != "classify":
        return {"clusters": nothing, "data_clusters": nothing}
    Y = network.layers({key: p.double() for key, p in params.items()}, data.X)[-1].post
    spaces = {
        "clusters": rowspace.factor(Y, data.rank, gram=True).V,
        "data_clusters": row_space(data),
    }
    return {name: spectral_accuracy(V, data.labels).numpy() for name, V in spaces.items()}


experiment(
    "nonnegative-features",
    "Non-negative features: starts of networks on real measurements (chapter 22)",
    quick=Config(3, 16, 20, marks=(0, 5, 20), datasets=("wine",), adam=(0.01,), gd=(0.1,)),
    full=Config(),
    half={"width": 16},
    settings=settings,
    compute=compute,
    axes={"*": -1, "steps": None} | dict.fromkeys(FOLLOWED),
)

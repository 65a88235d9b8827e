"""Two small classifiers of handwritten digits, probed along training: chapter 24."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evidence.datasets import load_dataset
from evidence.experiment import Setting, experiment
from evidence.setting import names, single
from subspace_lib import _random as rnd
from subspace_lib.probe import LayerProbe

LAYERS = {
    "mlp": ("input", "relu1", "relu2", "relu3", "logits"),
    "cnn": ("relu1", "pool1", "relu2", "pool2", "logits"),
}
# (checkpoints, trials) of the model itself; (readings, checkpoints, layers, trials) of its layers
OF_THE_MODEL = ("train_accuracy", "held_out_accuracy")
FOLLOWED = names(
    "share share_twice shuffled distance_max distance_spectral containment_twice certified acc"
)


@dataclass(frozen=True)
class Config:
    """marks: epochs at which the model is probed, the last one ends the run.

    readings: (reference, rank): the data's own leading row space, or the labels' indicator rows.
    """

    trials: int = 16
    seed: int = 0
    held_out: int = 400
    batch: int = 50
    lr: float = 0.001
    marks: tuple[int, ...] = (0, 1, 3, 10, 30)
    readings: tuple[tuple[str, int], ...] = (*(("input", r) for r in (8, 16, 32)), ("labels", 10))


def settings(config: Config) -> list[Setting]:
    return [
        {"model": "mlp", "reduce": "flatten"},
        {"model": "cnn", "reduce": "flatten"},
        {"model": "cnn", "reduce": "mean"},
    ]


def build(kind: str, width: int = 64) -> nn.Sequential:
    """An ordinary module on images (batch, 1, 8, 8), initialised as PyTorch does it."""
    if kind == "mlp":
        parts: list[tuple[str, nn.Module]] = [("input", nn.Flatten())]
        for i in (1, 2, 3):
            parts += [(f"linear{i}", nn.Linear(64 if i == 1 else width, width))]
            parts += [(f"relu{i}", nn.ReLU())]
        return nn.Sequential(OrderedDict([*parts, ("logits", nn.Linear(width, 10))]))
    parts = []
    for i, before, after in ((1, 1, 8), (2, 8, 16)):
        parts += [(f"conv{i}", nn.Conv2d(before, after, 3, padding=1))]
        parts += [(f"relu{i}", nn.ReLU()), (f"pool{i}", nn.MaxPool2d(2))]
    return nn.Sequential(
        OrderedDict([*parts, ("flat", nn.Flatten()), ("logits", nn.Linear(64, 10))])
    )


@dataclass(frozen=True)
class Digits:
    """images: (n, 1, 8, 8) in [0, 1], labels: (n,); those to train on and those held out."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def reference(self, kind: str) -> Tensor:
        """One column per held-out sample: the pixels (64, n) or the indicator rows (10, n)."""
        if kind == "labels":
            return nn.functional.one_hot(self.test_labels, 10).mT.double()
        return self.test_images.flatten(1).mT.double()


def split(config: Config, trial: int) -> Digits:
    """Another held-out part per trial, in the order of the labels."""
    data = load_dataset("digits")
    images = torch.from_numpy(data.X.T / 16).float().reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(data.labels)
    order = torch.from_numpy(rnd.generator(config.seed, "split", trial).permutation(len(labels)))
    out, fit = order[: config.held_out], order[config.held_out :]
    out = out[torch.argsort(labels[out], stable=True)]
    return Digits(images[fit], labels[fit], images[out], labels[out])


def train(
    model: nn.Module, data: Digits, config: Config, trial: int
) -> Iterator[tuple[int, nn.Module]]:
    """(epoch, model) at each mark; Adam on the cross-entropy, in mini-batches."""
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    draw = rnd.generator(config.seed, "batches", trial)
    for epoch in range(config.marks[-1] + 1):
        if epoch > 0:
            order = torch.from_numpy(draw.permutation(len(data.labels)))
            for batch in order.split(config.batch):
                optimiser.zero_grad()
                logits = model(data.images[batch])
                nn.functional.cross_entropy(logits, data.labels[batch]).backward()
                optimiser.step()
        if epoch in config.marks:
            yield epoch, model


def start(kind: str, config: Config, trial: int) -> nn.Module:
    """The untrained model of one trial; the global random state is left alone."""
    number = int(rnd.generator(config.seed, f"init {kind}", trial).integers(2**31))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        return build(kind)


def read(model: nn.Module, data: Digits, config: Config, setting: Setting) -> dict[str, np.ndarray]:
    """Every reading in one pass over the held-out samples; (readings, layers) each."""
    probes = []
    for reference, rank in config.readings:
        labels = data.test_labels if rank in (10, 16) else None
        options = {"labels": labels, "reduce": setting["reduce"], "larger_ranks": (2 * rank,)}
        R, layers = data.reference(reference), LAYERS[setting["model"]]
        probes.append(LayerProbe(model, layers, rank=rank, reference=R, **options))
    model.eval()
    with ExitStack() as stack, torch.no_grad():
        for probe in probes:
            stack.enter_context(probe)
        for batch in data.test_images.split(200):
            model(batch)
    model.train()
    found: dict[str, list[list[float]]] = {name: [] for name in FOLLOWED}
    for probe in probes:
        k = probe.rank
        called = {"share": f"share_{k}", "share_twice": f"share_{2 * k}"}
        called |= {"shuffled": f"shuffled_{k}", "containment_twice": f"containment_{2 * k}"}
        for name in FOLLOWED:
            found[name].append([_value(row, called.get(name, name)) for row in probe.table()])
    return {name: np.array(values) for name, values in found.items()}


def _value(row: dict[str, Any], name: str) -> float:
    return float(row["verdict"] == "certifies") if name == "certified" else row.get(name, np.nan)


@torch.no_grad()
def right(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((model(images).argmax(1) == labels).double().mean())


def one_trial(config: Config, setting: Setting, trial: int) -> dict[str, np.ndarray]:
    """(readings, checkpoints, layers) or (checkpoints,) each."""
    data = split(config, trial)
    rows = []
    for _, model in train(start(setting["model"], config, trial), data, config, trial):
        sides = ((data.images, data.labels), (data.test_images, data.test_labels))
        own = dict(zip(OF_THE_MODEL, (right(model, *side) for side in sides), strict=True))
        rows.append(read(model, data, config, setting) | own)
    of_layers = {name: np.stack([row[name] for row in rows], 1) for name in FOLLOWED}
    return of_layers | {name: np.array([row[name] for row in rows]) for name in OF_THE_MODEL}


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FOLLOWED (readings, checkpoints, layers, trials), OF_THE_MODEL (checkpoints, trials).

    Always on the CPU: these models are too small for anything else.
    """
    trials = [one_trial(config, setting, t) for t in range(config.trials)]
    arrays = {k: np.stack([t[k] for t in trials], -1) for k in (*FOLLOWED, *OF_THE_MODEL)}
    return single(arrays)


experiment(
    "probe-digits",
    "Two classifiers of digits, probed along training (chapter 24)",
    quick=Config(trials=2, held_out=300, marks=(0, 1, 2)),
    full=Config(),
    settings=settings,
    compute=compute,
    axes={"*": -1},
)

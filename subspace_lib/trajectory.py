"""What a training run did: a record to be read, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subspace_lib.networks import Params

ARRAYS = ("steps", "loss", "history", "accuracy", "diverged")
VALUES = ("config", "layer_names", "interrupted", "seconds_training", "seconds_measuring")


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """The networks after ``step`` updates.

    params: name → (T, …). loss: (T,) float64, NaN where the trial has diverged. accuracy: (T,)
    share of points with the right largest logit, NaN when reconstructing. last: the run's last one.
    """

    step: int
    params: Params
    loss: np.ndarray
    accuracy: np.ndarray
    last: bool = False

    def __repr__(self) -> str:
        return f"Checkpoint(step {self.step}, {len(self.loss)} trials)"


@dataclass(frozen=True, repr=False)
class Trajectory:
    """What a training run did. C checkpoints, T trials.

    config: everything the run depends on, plain values. steps: (C,) updates before each checkpoint.
    loss, accuracy: (C, T). history: (steps + 1, T) the loss before every update and at the end.
    measured: name → (C, …), what ``measure`` gave at each checkpoint; of ``Diagnostics``
    (C, layers, T) with NaN where it was not evaluated. layer_names: of the observed layers.
    diverged: (T,) the loss became infinite or NaN; from there on the trial's numbers are NaN.
    interrupted: Ctrl-C ended the run. kept: the parameters at every checkpoint after ``keep=True``,
    otherwise those at the last. seconds_training, seconds_measuring: wall clock, apart.

    >>> run = sl.train(sl.FeedForward((30, 8, 30)), noisy, trials=2, steps=20, checkpoints=3)
    >>> run.steps.tolist(), run.loss.shape, tuple(run.params["W1"].shape)
    ([0, 1, 20], (3, 2), (2, 8, 30))
    """

    config: dict[str, Any]
    steps: np.ndarray
    loss: np.ndarray
    history: np.ndarray
    accuracy: np.ndarray
    measured: dict[str, np.ndarray]
    layer_names: tuple[str, ...]
    diverged: np.ndarray
    interrupted: bool
    seconds_training: float
    seconds_measuring: float
    kept: tuple[Params, ...]

    @property
    def params(self) -> Params:
        """The parameters at the last checkpoint, name → (T, …)."""
        return self.kept[-1]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint with its parameters. Raises ValueError unless they were kept."""
        if len(self.kept) < len(self.steps):
            raise ValueError(
                f"the parameters of {len(self.steps)} checkpoints were not kept, only the last; "
                f"train(..., keep=True) keeps them"
            )
        rows = zip(self.steps.tolist(), self.kept, self.loss, self.accuracy, strict=True)
        return [Checkpoint(*row, last=row[0] == self.steps[-1]) for row in rows]

    def __getitem__(self, name: str) -> np.ndarray:
        """One measured quantity, (C, …)."""
        if name not in self.measured:
            raise KeyError(f"{name!r} was not measured; measure= gave {sorted(self.measured)}")
        return self.measured[name]

    def cpu(self) -> Trajectory:
        """The same run with its parameters on the processor, as a plot or a matrix there needs."""
        return replace(self, kept=tuple({k: p.cpu() for k, p in now.items()} for now in self.kept))

    def __repr__(self) -> str:
        ended = "interrupted" if self.interrupted else "finished"
        return (
            f"Trajectory({self.config['network']['network']}, {self.loss.shape[1]} trials, "
            f"{len(self.steps)} checkpoints to step {self.steps[-1]}, {ended}, "
            f"{int(self.diverged.sum())} diverged, {len(self.measured)} quantities measured)"
        )

    def save(self, path: str | Path) -> None:
        """One compressed .npz file without pickles; ``load`` reads it by the same name."""
        named: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        named |= {f"measured/{name}": values for name, values in self.measured.items()}
        for i, params in enumerate(self.kept):
            named |= {f"kept/{i}/{name}": p.cpu().numpy() for name, p in params.items()}
        meta = json.dumps({name: getattr(self, name) for name in VALUES})
        part = _npz(path).with_suffix(".part")
        try:
            with part.open("wb") as file:
                np.savez_compressed(file, meta=np.array(meta), **named)
            part.replace(_npz(path))  # whole or not at all
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        """What ``save`` wrote; parameters come back on the CPU."""
        with np.load(_npz(path), allow_pickle=False) as file:
            stored = dict(file)
        meta = json.loads(str(stored["meta"]))
        meta["layer_names"] = tuple(meta["layer_names"])
        checkpoints = {key.split("/")[1] for key in stored if key.startswith("kept/")}
        kept = tuple(
            {name: torch.from_numpy(p) for name, p in _under(f"kept/{i}", stored)}
            for i in range(len(checkpoints))
        )
        arrays = {name: stored[name] for name in ARRAYS}
        return cls(**meta, **arrays, measured=dict(_under("measured", stored)), kept=kept)


def _under(kind: str, stored: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The entries "kind/name" as (name, values), in the order in which they were stored."""
    return ((k.removeprefix(f"{kind}/"), v) for k, v in stored.items() if k.startswith(f"{kind}/"))


def _npz(path: str | Path) -> Path:
    """~ is the home folder; a name without the suffix gets it, as ``numpy.savez`` does."""
    path = Path(path).expanduser()
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")

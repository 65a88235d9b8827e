"""Full-batch training of many networks at once, measured at checkpoints.

Trials share nothing: losses are summed over them (a mean would couple their step sizes), every
update is elementwise, and nothing is clipped. Training runs in float32, measurements in float64.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.diagnostics import GROUPS, Diagnostics
from subspace_lib.networks import INITS, Network, Params, check_columns

OBJECTIVES = ("reconstruct", "classify")
OPTIMIZERS = ("gd", "adam")
TARGETS = ("noisy", "clean")
NORMALIZATIONS = ("sum", "data")
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as in doi:10.48550/arXiv.1412.6980
CPU_CHUNK, CUDA_CHUNK = 2**24, 2**31  # bytes of one (trials, m, n) tensor: 16 MB stays in cache


@dataclass(frozen=True, repr=False)
class Trajectory:
    """What a training run did. C checkpoints, L observed layers, T trials.

    config: everything the run depends on, plain values. steps: (C,) updates done before each
    checkpoint. loss: (C, T). history: (steps + 1, T) the loss before every update and at the end.
    accuracy: (C, T) share of points with the right largest logit; NaN when reconstructing.
    diagnostics: name → (C, L, T), float64; see ``diagnose`` for the names. NaN: not measured.
    layer_names: L of them. diverged: (T,) loss became infinite or NaN; from there on the trial's
    numbers are NaN. interrupted: Ctrl-C ended the run; what is here belongs to whole checkpoints.
    params, state: parameters and optimiser's state at the last checkpoint.
    seconds_training, seconds_diagnostics: wall clock, apart.
    """

    config: dict[str, Any]
    steps: np.ndarray
    loss: np.ndarray
    history: np.ndarray
    accuracy: np.ndarray
    diagnostics: dict[str, np.ndarray]
    layer_names: tuple[str, ...]
    diverged: np.ndarray
    interrupted: bool
    seconds_training: float
    seconds_diagnostics: float
    params: Params = field(default_factory=dict)
    state: Params = field(default_factory=dict)

    @property
    def trials(self) -> int:
        return self.loss.shape[1]

    def __getitem__(self, name: str) -> np.ndarray:
        """One diagnostic, (C, L, T)."""
        if name not in self.diagnostics:
            raise KeyError(f"{name!r} was not measured; there are {sorted(self.diagnostics)}")
        return self.diagnostics[name]

    def __repr__(self) -> str:
        ended = "interrupted" if self.interrupted else "finished"
        return (
            f"Trajectory({self.config['network']['network']}, {self.trials} trials, "
            f"{len(self.steps)} checkpoints to step {self.steps[-1]}, {ended}, "
            f"{int(self.diverged.sum())} diverged, {len(self.diagnostics)} diagnostics × "
            f"{len(self.layer_names)} layers)"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays (no pickles): for ``numpy.savez`` and ``from_arrays``."""
        meta = {
            "config": self.config,
            "layer_names": self.layer_names,
            "interrupted": self.interrupted,
            "seconds_training": self.seconds_training,
            "seconds_diagnostics": self.seconds_diagnostics,
        }
        named = {k: getattr(self, k) for k in _ARRAYS}
        for kind in ("diagnostics", "params", "state"):
            for name, value in getattr(self, kind).items():
                value = value.cpu().numpy() if isinstance(value, Tensor) else value
                named[f"{kind}/{name}"] = value
        return named | {"meta": np.array(json.dumps(meta))}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, np.ndarray]) -> Trajectory:
        """The inverse of ``arrays``; parameters come back on the CPU."""
        meta = json.loads(str(stored["meta"]))
        parts: dict[str, dict[str, Any]] = {"diagnostics": {}, "params": {}, "state": {}}
        for key in stored:
            kind, _, name = key.partition("/")
            if kind in parts:
                array = stored[key]
                tensor = kind != "diagnostics"
                parts[kind][name] = torch.from_numpy(np.array(array)) if tensor else array
        meta["layer_names"] = tuple(meta["layer_names"])
        named: dict[str, Any] = {k: stored[k] for k in _ARRAYS} | meta | parts
        return cls(**named)

    def save(self, path: str | Path) -> None:
        """One compressed .npz file."""
        np.savez_compressed(path, **cast(Any, self.arrays()))

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        with np.load(path, allow_pickle=False) as stored:
            return cls.from_arrays(dict(stored))


_ARRAYS = ("steps", "loss", "history", "accuracy", "diverged")


def train(
    network: Network,
    data: UnionOfSubspaces,
    *,
    objective: str = "reconstruct",
    optimizer: str = "gd",
    lr: float = 0.005,
    weight_decay: float = 0.0,
    steps: int = 1000,
    init: str | Params | Trajectory = "usual",
    seed: int = 0,
    trials: int | None = None,
    target: str = "noisy",
    normalize: str = "sum",
    checkpoints: int | Sequence[int] = 9,
    diagnostics: bool | Sequence[str] = True,
    certify: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Trajectory:
    """Train one network per trial by full-batch gradient descent and measure it on the way.

    objective, per trial: "reconstruct" ‖X̂ − X‖_F² (the plain sum, as in the paper), or "classify",
      the cross-entropy of the logits, summed over the points.
    normalize: "data" divides that loss by ‖X‖_F² (by n when classifying), so that a learning rate
      means the same at every noise convention; "sum" leaves it as it is.
    target: reconstruct the "noisy" data X (the paper) or the "clean" X*; the input is always X.
    optimizer: "gd", or "adam" (β = 0.9, 0.999; ε = 1e-8). lr: its step size.
    weight_decay: λ adds λθ to the gradient by the parameters θ, biases included, as λ‖θ‖²/2 in the
      loss would; the loss that is recorded is without it.
    init: a scheme of ``Network.init`` drawn from ``seed``, or parameters, or a ``Trajectory`` to be
      continued to ``steps`` in all (its optimiser's state included); the result holds both parts.
    trials: for data without a trial axis, how many networks to train on them; otherwise leave it.
    checkpoints: how many (geometrically spaced, with 0 and the last step), or the steps.
    diagnostics: True for all of ``diagnose``, False for none, or names of its groups.
    certify: the checkpoints (steps) at which the groups marked expensive are evaluated; None: the
      last, so that measuring stays a small part of the run.
    device: None follows the data. progress: a line on stderr; None: only on a terminal.

    The same trial gives the same result alone or among 100, on the processor or on a GPU, up to the
    order in which a matrix product is summed (in single precision: PyTorch's default, without
    TF32): relative 1e-4 in the loss over hundreds of steps. Where Adam's loss oscillates, rounding
    grows further: to a few 1e-3 after a thousand steps of ReLU layers at the paper's size.

    A trial whose loss is no longer finite becomes NaN, is reported in ``diverged``, and leaves the
    others alone. Ctrl-C returns what was done up to the last checkpoint, marked ``interrupted``.

    Raises ValueError or TypeError for arguments that do not fit, KeyboardInterrupt only before
    the first checkpoint is complete.
    """
    _check_arguments(network, data, objective, optimizer, target, normalize, init)
    lr, steps = check.non_negative(lr, "lr"), check.positive_int(steps, "steps")
    decay = check.non_negative(weight_decay, "weight_decay")
    where = torch.device(device) if device is not None else data.X.device
    count = _trial_count(data, trials)
    config = {
        "network": network.config(),
        "data": _described(data),
        "objective": objective,
        "optimizer": optimizer,
        "lr": lr,
        "weight_decay": decay,
        "init": init if isinstance(init, str) else type(init).__name__,
        "seed": int(seed),
        "trials": count,
        "target": target,
        "normalize": normalize,
        "dtype": str(check.floating(dtype)).removeprefix("torch."),
    }
    before = init if isinstance(init, Trajectory) else None
    first = int(before.steps[-1]) if before else 0
    if first >= steps:
        raise ValueError(f"steps must exceed the {first} already done, got {steps}")
    marks = [t for t in _marks(checkpoints, steps) if t > first or before is None]
    params = _start(network, data, init, seed, count, dtype, where)
    problem = _Problem(network, data, objective, target, normalize, count, dtype, where)
    run = _Run(problem, _Rule(optimizer, lr, params, before, decay), params, steps)
    if diagnostics is not False:
        chosen = tuple(GROUPS) if diagnostics is True else tuple(diagnostics)
        run.yardstick = Diagnostics(data, groups=chosen, device=where)
        run.certified = {marks[-1]} if certify is None else set(certify)
    interrupted = run.go(first, set(marks), _progress_line(progress, steps))
    return run.trajectory(config, interrupted, before)


class _Problem:
    """The loss of each trial and its gradient, a chunk of trials at a time."""

    def __init__(
        self,
        network: Network,
        data: UnionOfSubspaces,
        objective: str,
        target: str,
        normalize: str,
        trials: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.network, self.objective, self.trials = network, objective, trials
        self.X = data.X.to(device, dtype)
        self.labels = data.labels.to(device)
        if objective == "classify":
            self.goal = torch.zeros(network.outputs, len(data.labels), dtype=dtype, device=device)
            self.goal[self.labels, torch.arange(len(data.labels), device=device)] = 1.0
        else:
            self.goal = self.X if target == "noisy" else data.clean.to(device, dtype)
        # A one-hot target of n points has squared norm n: dividing by it gives the mean.
        size = torch.linalg.vector_norm(self.goal, dim=(-2, -1)) ** 2
        self.scale = (size if normalize == "data" else torch.ones_like(size)).expand(trials)
        room = CUDA_CHUNK if device.type == "cuda" else CPU_CHUNK
        one = self.X.element_size() * self.X.shape[-1] * max(network.inputs, network.outputs)
        self.chunk = min(trials, max(1, room // one))

    def chunks(self) -> list[slice]:
        return [slice(a, a + self.chunk) for a in range(0, self.trials, self.chunk)]

    def _part(self, A: Tensor, part: slice) -> Tensor:
        return A if A.ndim == 2 else A[part]

    def loss(self, out: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Loss of each trial (c,) and its derivative by the output (c, outputs, n)."""
        scale, goal = self.scale[part], self._part(self.goal, part)
        if self.objective == "reconstruct":
            error = out - goal
            value = torch.linalg.vector_norm(error, dim=(-2, -1)) ** 2 / scale
            return value, error.mul_((2 / scale)[:, None, None])
        logp = torch.log_softmax(out, dim=-2)
        value = -(logp * goal).sum((-2, -1)) / scale
        return value, logp.exp_().sub_(goal).div_(scale[:, None, None])

    def gradient(self, params: Params, part: slice) -> tuple[Tensor, list[Tensor]]:
        """Loss and gradient of a chunk; trials do not meet, so the sum over them couples none."""
        leaves = {name: p[part].detach().requires_grad_() for name, p in params.items()}
        out = self.network.output(leaves, self._part(self.X, part))
        with torch.no_grad():
            value, cotangent = self.loss(out.detach(), part)
        grads = torch.autograd.grad(
            out,
            list(leaves.values()),
            cotangent,
            materialize_grads=True,  # W_h of a single step
        )
        return value, list(grads)

    @torch.no_grad()
    def evaluate(self, params: Params) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of every trial, (T,) each."""
        losses, hits = [], []
        for part in self.chunks():
            own = {name: p[part] for name, p in params.items()}
            out = self.network.output(own, self._part(self.X, part))
            losses.append(self.loss(out, part)[0])
            if self.objective == "classify":
                hits.append((out.argmax(-2) == self.labels).double().mean(-1))
        loss = torch.cat(losses)
        return loss, torch.cat(hits) if hits else torch.full_like(loss, torch.nan)


class _Rule:
    """Gradient descent or Adam, in place. A learning rate NaN turns a trial into NaN for good."""

    def __init__(
        self,
        name: str,
        lr: float,
        params: Params,
        before: Trajectory | None,
        decay: float = 0.0,
    ) -> None:
        self.name, self.lr, self.decay = name, lr, decay
        self.state: Params = {}
        if name == "adam":
            for kind in ("first", "second"):
                self.state |= {f"{kind} {k}": torch.zeros_like(p) for k, p in params.items()}
        if before is not None and before.config["optimizer"] == name:
            self.state = {k: v.to(self._like(params)).clone() for k, v in before.state.items()}

    @staticmethod
    def _like(params: Params) -> Tensor:
        return next(iter(params.values()))

    @torch.no_grad()
    def update(
        self, params: Params, part: slice, grads: list[Tensor], loss: Tensor, t: int
    ) -> None:
        """Step t (counted from 1) of the trials in ``part``."""
        rate = torch.full_like(loss, self.lr).masked_fill_(~torch.isfinite(loss), torch.nan)
        for (name, whole), g in zip(params.items(), grads, strict=True):
            p, lr = whole[part], rate.view(-1, *[1] * (whole.ndim - 1))
            if self.decay:
                g = g.add(p, alpha=self.decay)
            if self.name == "gd":
                p.sub_(g.mul_(lr))
                continue
            m, v = self.state[f"first {name}"][part], self.state[f"second {name}"][part]
            m.lerp_(g, 1 - BETAS[0])
            v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            size = (v / (1 - BETAS[1] ** t)).sqrt_().add_(EPSILON)
            p.sub_((m / size).mul_(lr / (1 - BETAS[0] ** t)))


class _Run:
    """The loop, and what it has recorded so far."""

    def __init__(self, problem: _Problem, rule: _Rule, params: Params, steps: int) -> None:
        self.problem, self.rule, self.params, self.steps = problem, rule, params, steps
        self.yardstick: Diagnostics | None = None
        self.certified: set[int] = set()
        shape = (steps + 1, problem.trials)
        self.history = torch.full(shape, torch.nan, dtype=torch.float64, device=problem.X.device)
        self.records: list[dict[str, Any]] = []
        self.seconds = {"training": 0.0, "diagnostics": 0.0}

    def go(self, first: int, marks: set[int], show: Callable[[int], None]) -> bool:
        """Train; True if Ctrl-C ended it."""
        try:
            for t in range(first, self.steps + 1):
                if t in marks:
                    self._timed("diagnostics", self._record, t)
                show(t)
                if t < self.steps:
                    self._timed("training", self._step, t)
        except KeyboardInterrupt:
            if not self.records:
                raise
            return True
        return False

    def _timed(self, kind: str, function: Callable[[int], None], t: int) -> None:
        if kind == "diagnostics" and self.problem.X.is_cuda:
            torch.cuda.synchronize()  # steps are queued: wait, or their time is booked here
        start = time.perf_counter()
        function(t)
        self.seconds[kind] += time.perf_counter() - start

    def _step(self, t: int) -> None:
        for part in self.problem.chunks():
            loss, grads = self.problem.gradient(self.params, part)
            self.history[t, part] = loss
            self.rule.update(self.params, part, grads, loss, t + 1)

    def _record(self, t: int) -> None:
        """A checkpoint: appended when it is complete, so that an interrupt leaves whole ones."""
        loss, accuracy = self.problem.evaluate(self.params)
        self.history[t] = loss
        finite = torch.isfinite(loss)
        record: dict[str, Any] = {
            "step": t, "loss": loss, "accuracy": accuracy,
            "params": {k: p.clone() for k, p in self.params.items()},
            "state": {k: p.clone() for k, p in self.rule.state.items()},
        }  # fmt: skip
        if self.yardstick is not None:
            record["names"], record["diagnostics"] = self.yardstick.measure(
                self.problem.network, self.params, finite, certify=t in self.certified
            )
        for earlier in self.records[-1:]:
            earlier["params"] = earlier["state"] = {}
        self.records.append(record)

    def trajectory(
        self, config: dict[str, Any], interrupted: bool, before: Trajectory | None
    ) -> Trajectory:
        last = self.records[-1]
        loss = _stack([r["loss"] for r in self.records])
        found = [r.get("diagnostics", {}) for r in self.records]
        diagnostics = {name: np.stack([d[name] for d in found]) for name in found[0]}
        mine = Trajectory(
            config=config,
            steps=np.array([r["step"] for r in self.records]),
            loss=_finite_or_nan(loss),
            history=_finite_or_nan(self.history.cpu().numpy()),
            accuracy=_stack([r["accuracy"] for r in self.records]),
            diagnostics=diagnostics,
            layer_names=tuple(last.get("names", ())),
            diverged=~np.isfinite(loss[-1]),
            interrupted=interrupted,
            seconds_training=self.seconds["training"],
            seconds_diagnostics=self.seconds["diagnostics"],
            params=last["params"],
            state=last["state"],
        )
        return mine if before is None else _joined(before, mine)


def _joined(before: Trajectory, after: Trajectory) -> Trajectory:
    """One trajectory out of a run and its continuation."""
    join: dict[str, Any] = {
        k: np.concatenate([getattr(before, k), getattr(after, k)])
        for k in ("steps", "loss", "accuracy")
    }
    done = int(before.steps[-1])
    history = after.history.copy()
    history[: done + 1] = before.history[: done + 1]
    shared = before.diagnostics.keys() & after.diagnostics.keys()
    diagnostics = {
        k: np.concatenate([before.diagnostics[k], after.diagnostics[k]]) for k in sorted(shared)
    }
    return replace(
        after, **join, history=history, diagnostics=diagnostics,
        seconds_training=before.seconds_training + after.seconds_training,
        seconds_diagnostics=before.seconds_diagnostics + after.seconds_diagnostics,
    )  # fmt: skip


def _stack(rows: list[Tensor]) -> np.ndarray:
    return torch.stack(rows).double().cpu().numpy()


def _finite_or_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _marks(checkpoints: int | Sequence[int], steps: int) -> list[int]:
    """Sorted steps: the given ones, or 0 and geometrically spaced ones up to the last."""
    if isinstance(checkpoints, (int, np.integer)):
        count = check.positive_int(checkpoints, "checkpoints")
        spaced = np.geomspace(1, steps, count - 1) if count > 1 else np.zeros(0)
        last = {steps} if count > 1 else set()  # geomspace of one number is its start
        return sorted({0, *(round(float(t)) for t in spaced[:-1]), *last})
    marks = sorted({int(t) for t in checkpoints})
    if not marks or marks[0] < 0 or marks[-1] > steps:
        raise ValueError(
            f"checkpoints must be steps in 0..{steps} (at least one), got {list(checkpoints)}"
        )
    return marks


def _progress_line(progress: bool | None, steps: int) -> Callable[[int], None]:
    if not (sys.stderr.isatty() if progress is None else progress):
        return lambda t: None
    start, shown = time.perf_counter(), [-1.0]

    def show(t: int) -> None:
        now = time.perf_counter()
        if t == steps or now - shown[0] > 0.5:
            shown[0] = now
            left = (now - start) * (steps - t) / t if t else float("nan")
            bar = "#" * (20 * t // steps)
            end = "\n" if t == steps else ""
            sys.stderr.write(f"\r[{bar:<20}] step {t}/{steps}, {left:.0f} s left   {end}")
            sys.stderr.flush()

    return show


def _check_arguments(
    network: Any, data: Any, objective: str, optimizer: str, target: str, normalize: str, init: Any
) -> None:
    if not isinstance(network, Network):
        raise TypeError(
            f"network must be one of subspace_lib.networks (FeedForward, …), got "
            f"{type(network).__name__}"
        )
    if not isinstance(data, UnionOfSubspaces):
        raise TypeError(
            f"data must be a UnionOfSubspaces, got {type(data).__name__}; sample_union makes one"
        )
    check.matrix(data.X, "data.X")
    check_columns(network, data.X)
    check.one_of(objective, OBJECTIVES, "objective")
    check.one_of(optimizer, OPTIMIZERS, "optimizer")
    check.one_of(target, TARGETS, "target")
    check.one_of(normalize, NORMALIZATIONS, "normalize")
    needed = network.inputs if objective == "reconstruct" else data.n_clusters
    if network.outputs != needed:
        raise ValueError(
            f"network must have {needed} outputs to {objective}, got {network.outputs}; "
            f"use network.with_outputs({needed})"
        )
    if isinstance(init, Trajectory) and (
        _plain(init.config["network"]) != _plain(network.config())
        or init.config["optimizer"] != optimizer
    ):
        raise ValueError(
            f"init must be a trajectory of the same network and optimizer to be continued, got "
            f"{init.config['network']} with {init.config['optimizer']}; pass its .params instead"
        )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))  # tuples are lists in a stored trajectory


def _trial_count(data: UnionOfSubspaces, trials: int | None) -> int:
    if data.X.ndim == 2:
        return 1 if trials is None else check.positive_int(trials, "trials")
    if trials not in (None, len(data.X)):
        raise ValueError(
            f"trials must be left out for data that have {len(data.X)} trials, got {trials}; "
            f"choose them in sample_union"
        )
    return len(data.X)


def _described(data: UnionOfSubspaces) -> dict[str, Any]:
    return {
        "shape": list(data.X.shape[-2:]),
        "subspace_dims": list(data.subspace_dims),
        "noise_variance": data.noise_variance,
        "convention": data.convention,
        "trials": list(data.trials),
    }


def _start(
    network: Network,
    data: UnionOfSubspaces,
    init: str | Params | Trajectory,
    seed: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Params:
    """Fresh, given or continued parameters; always a copy, since training works in place."""
    if isinstance(init, str):
        indices = data.trials if data.X.ndim == 3 else range(count)
        return network.init(init, trials=indices, seed=seed, dtype=dtype, device=device)
    given = init.params if isinstance(init, Trajectory) else init
    wanted = {name: (count, *shape) for name, shape in network.shapes().items()}
    got = {name: tuple(p.shape) for name, p in given.items()} if isinstance(given, dict) else given
    if got != wanted:
        raise ValueError(
            f"init must be one of {', '.join(INITS)}, or parameters with the shapes {wanted}, "
            f"got {got}; network.init makes them"
        )
    return {name: given[name].to(device, dtype).clone() for name in wanted}

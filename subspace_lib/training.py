"""Full-batch training of many networks at once, recorded and measured at checkpoints.

Trials share nothing: losses are summed over them (a mean would couple their step sizes), every
update is elementwise, and nothing is clipped. Training runs in float32, measurements in float64.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.data import UnionOfSubspaces, check_data
from subspace_lib.networks.base import INITS, Network, Params, check_columns
from subspace_lib.trajectory import Checkpoint, Trajectory

OBJECTIVES = ("reconstruct", "classify")
OPTIMIZERS = ("gd", "adam")
NORMALIZATIONS = ("sum", "data")
DESCRIBED = ("subspace_dims", "noise_variance", "convention", "trials")  # of the data, in config
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as in doi:10.48550/arXiv.1412.6980
CPU_CHUNK, CUDA_CHUNK = 2**24, 2**31  # bytes of one (trials, m, n) tensor: 16 MB stays in cache

Config = dict[str, Any]
Measure = Callable[[Network, Checkpoint], Mapping[str, np.ndarray]]


@torch.inference_mode(False)  # whatever the caller's mode
@torch.enable_grad()
def train(
    network: Network,
    data: UnionOfSubspaces,
    *,
    objective: str = "reconstruct",
    optimizer: str = "gd",
    lr: float = 0.005,
    weight_decay: float = 0.0,
    steps: int = 1000,
    init: str | Params = "usual",
    seed: int = 0,
    trials: int | None = None,
    normalize: str = "sum",
    checkpoints: int | Sequence[int] = 9,
    measure: Measure | None = None,
    keep: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Trajectory:
    """Train one network per trial by full-batch gradient descent and record it on the way.

    objective, per trial: "reconstruct" ‖X̂ − X‖_F² (the plain sum, as in the paper), or "classify",
      the cross-entropy of the logits, summed over the points.
    normalize: "data" divides that loss by ‖X‖_F² (by n when classifying), so that a learning rate
      means the same at every scale of the data; "sum" leaves it as it is.
    optimizer: "gd", or "adam" (β = 0.9, 0.999; ε = 1e-8). lr: its step size.
    weight_decay: λ adds λθ to the gradient by the parameters θ, biases included, as λ‖θ‖²/2 in the
      loss would; the loss that is recorded is without it.
    init: a scheme of ``Network.init`` drawn from ``seed``, or parameters.
    trials: for data without a trial axis, how many networks to train on them.
    checkpoints: how many (geometrically spaced, with 0 and the last step), or the steps.
    measure: called at every checkpoint with the network and the ``Checkpoint``; what it returns,
      name → array, is stacked in ``Trajectory.measured``. ``diagnostics.Diagnostics(data)`` is one.
    keep: keep the parameters of every checkpoint, not only the last.
    device: where the networks train and stay (``Trajectory.cpu`` brings them back); None follows
      the data. progress: a line on stderr; None: only on a terminal.

    The same trial gives the same result alone or among 100, on the processor or on a GPU, up to the
    order in which a matrix product is summed (in single precision: PyTorch's default, without
    TF32): relative 1e-4 in the loss over hundreds of steps. Where Adam's loss oscillates, rounding
    grows further: to a few 1e-3 after a thousand steps of ReLU layers at the paper's size.
    A trial whose loss is no longer finite becomes NaN, is reported in ``diverged``, and leaves the
    others alone. Ctrl-C returns what was done up to the last checkpoint, marked ``interrupted``;
    before the first is complete, it raises.
    Raises ValueError or TypeError for arguments that do not fit.

    >>> network = sl.FeedForward((30, 16, 30))
    >>> run = sl.train(network, noisy, trials=3, steps=50, optimizer="adam", lr=0.01)
    >>> bool((run.loss[-1] < run.loss[0]).all())
    True
    """
    check.one_of(objective, OBJECTIVES, "objective")
    _check_arguments(network, data, objective, measure)
    config = {
        "network": network.config(),
        "data": {"shape": tuple(data.X.shape[-2:])} | {k: getattr(data, k) for k in DESCRIBED},
        "objective": objective,
        "optimizer": check.one_of(optimizer, OPTIMIZERS, "optimizer"),
        "lr": check.non_negative(lr, "lr"),
        "weight_decay": check.non_negative(weight_decay, "weight_decay"),
        "init": init if isinstance(init, str) else "params",
        "seed": check.positive_int(seed, "seed", least=0),
        "trials": _trial_count(data, trials),
        "normalize": check.one_of(normalize, NORMALIZATIONS, "normalize"),
        "dtype": str(check.floating(dtype)).removeprefix("torch."),
    }
    steps = check.positive_int(steps, "steps")
    check.room(steps * _trial_count(data, trials), "steps")
    due = _checkpoint_steps(checkpoints, steps)
    where = data.X.device if device is None else torch.device(device)
    params = _start(network, data, init, config, where)
    loss = _Loss(network, data, config, where)
    descent = _Descent(config, params)
    record = _Record(loss, steps, due[-1], measure, keep)
    show = _progress_line(progress, steps)
    interrupted = False
    try:
        for t in range(steps + 1):
            if t in due:
                record.take(t, params)
            show(t)
            if t < steps:
                for part in loss.chunks:
                    value, grads = loss.gradient(params, part)
                    record.history[t, part] = value
                    descent.step(t + 1, params, part, grads, value)
    except KeyboardInterrupt:
        if not record.rows:
            raise
        interrupted = True
    return record.trajectory(config, interrupted)


class _Loss:
    """The loss of each trial and its gradient, a chunk of trials at a time."""

    def __init__(
        self, network: Network, data: UnionOfSubspaces, config: Config, device: torch.device
    ) -> None:
        self.network, self.objective, trials = network, config["objective"], config["trials"]
        X = data.X.detach().to(device, getattr(torch, config["dtype"]))
        top, kept = float(data.X.abs().max()), float(X.abs().max())
        if top > 0 and not torch.finfo(X.dtype).tiny < kept < torch.inf:
            raise ValueError(
                f"data.X with entries up to {top:.3g} does not fit {X.dtype}; use dtype="
                f"torch.float64, or data.scaled({1 / top:.3g})"
            )
        self.goal = self.X = X.clone() if X.is_inference() else X
        self.labels = data.labels.to(device)
        if self.objective == "classify":
            one_hot = torch.nn.functional.one_hot(self.labels, network.outputs)
            self.goal = one_hot.mT.to(self.X.dtype).contiguous()
        # A one-hot target of n points has squared norm n: dividing by it gives the mean.
        size = torch.linalg.vector_norm(self.goal, dim=(-2, -1)) ** 2
        scale = size if config["normalize"] == "data" else torch.ones_like(size)
        self.scale = scale.expand(trials)
        room = CUDA_CHUNK if device.type == "cuda" else CPU_CHUNK
        one = self.X.element_size() * self.X.shape[-1] * max(network.inputs, network.outputs)
        chunk = min(trials, max(1, room // one))
        self.chunks = [slice(a, a + chunk) for a in range(0, trials, chunk)]

    def _part(self, A: Tensor, part: slice) -> Tensor:
        return A if A.ndim == 2 else A[part]

    def _value(self, out: Tensor, part: slice) -> tuple[Tensor, Tensor]:
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
            value, cotangent = self._value(out.detach(), part)
        # a weight that the output does not depend on (W_h of a single step) has gradient zero
        grads = torch.autograd.grad(out, [*leaves.values()], cotangent, materialize_grads=True)
        return value, list(grads)

    @torch.no_grad()
    def evaluate(self, params: Params) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of every trial, (T,) each."""
        losses, hits = [], []
        for part in self.chunks:
            own = {name: p[part] for name, p in params.items()}
            out = self.network.output(own, self._part(self.X, part))
            losses.append(self._value(out, part)[0])
            if self.objective == "classify":
                hits.append((out.argmax(-2) == self.labels).double().mean(-1))
        loss = torch.cat(losses)
        return loss, torch.cat(hits) if hits else torch.full_like(loss, torch.nan)


class _Descent:
    """Gradient descent or Adam, in place. A learning rate NaN turns a trial into NaN for good."""

    def __init__(self, config: Config, params: Params) -> None:
        self.lr, self.decay = config["lr"], config["weight_decay"]
        adam = params if config["optimizer"] == "adam" else {}
        self.moments = {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in adam.items()}

    @torch.no_grad()
    def step(self, t: int, params: Params, part: slice, grads: list[Tensor], loss: Tensor) -> None:
        """Step t (counted from 1) of the trials in ``part``."""
        rate = torch.full_like(loss, self.lr).masked_fill_(~torch.isfinite(loss), torch.nan)
        for (name, whole), g in zip(params.items(), grads, strict=True):
            p, lr = whole[part], rate.view(-1, *[1] * (whole.ndim - 1))
            if self.decay:
                g = g.add(p, alpha=self.decay)
            if not self.moments:
                p.sub_(g.mul_(lr))
                continue
            m, v = (moment[part] for moment in self.moments[name])
            m.lerp_(g, 1 - BETAS[0])
            v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            size = (v / (1 - BETAS[1] ** t)).sqrt_().add_(EPSILON)
            p.sub_((m / size).mul_(lr / (1 - BETAS[0] ** t)))


class _Record:
    """What is known of a run so far: a row for every checkpoint, and the loss of every step."""

    def __init__(self, loss: _Loss, steps: int, last: int, measure: Measure | None, keep: bool):
        self.loss, self.last, self.measure, self.keep = loss, last, measure, keep
        shape = (steps + 1, len(loss.scale))
        self.history = torch.full(shape, torch.nan, dtype=torch.float64, device=loss.X.device)
        self.rows: list[tuple[Checkpoint, Mapping[str, np.ndarray]]] = []
        self.began, self.measuring = time.perf_counter(), 0.0

    def take(self, t: int, params: Params) -> None:
        """A checkpoint: added when it is complete, so that an interrupt leaves whole ones."""
        if self.history.is_cuda:
            torch.cuda.synchronize()  # steps are queued: wait, or their time is booked here
        began = time.perf_counter()
        loss, accuracy = self.loss.evaluate(params)
        self.history[t] = loss
        now = Checkpoint(
            step=t,
            params={name: p.clone() for name, p in params.items()},
            loss=_finite_or_nan(loss),
            accuracy=accuracy.double().cpu().numpy(),
            last=t == self.last,
        )
        found = {} if self.measure is None else self.measure(self.loss.network, now)
        earlier = self.rows if self.keep else [(replace(c, params={}), m) for c, m in self.rows]
        self.rows = [*earlier, (now, found)]
        self.measuring += time.perf_counter() - began

    def trajectory(self, config: dict[str, Any], interrupted: bool) -> Trajectory:
        taken, found = zip(*self.rows, strict=True)
        network, X = self.loss.network, self.loss.X[..., :1]
        one = {name: p[:1] for name, p in taken[-1].params.items()}
        seen = network.layers(one, X if X.ndim == 2 else X[:1])
        return Trajectory(
            config=config,
            steps=np.array([now.step for now in taken]),
            loss=np.stack([now.loss for now in taken]),
            history=_finite_or_nan(self.history),
            accuracy=np.stack([now.accuracy for now in taken]),
            measured={name: np.stack([row[name] for row in found]) for name in found[0]},
            layer_names=tuple(layer.name for layer in seen),
            diverged=np.isnan(taken[-1].loss),
            interrupted=interrupted,
            seconds_training=time.perf_counter() - self.began - self.measuring,
            seconds_measuring=self.measuring,
            kept=tuple(now.params for now in taken if now.params),
        )


def _finite_or_nan(values: Tensor) -> np.ndarray:
    array = values.double().cpu().numpy()
    return np.where(np.isfinite(array), array, np.nan)


def _checkpoint_steps(checkpoints: int | Sequence[int], steps: int) -> list[int]:
    """Sorted steps: the given ones, or 0 and geometrically spaced ones up to the last."""
    if not isinstance(checkpoints, (Sequence, np.ndarray)):
        count = check.positive_int(checkpoints, "checkpoints")
        check.room(count, "checkpoints")
        if count == 1:
            return [0]
        spaced = np.geomspace(1, steps, count - 1)[:-1]  # of one number, this is its start
        return sorted({0, *(round(float(t)) for t in spaced), steps})
    chosen = sorted({*check.positive_ints(checkpoints, "checkpoints", least=0)})
    if not chosen or chosen[-1] > steps:
        raise ValueError(
            f"checkpoints must be steps in 0..{steps} (at least one), got {list(checkpoints)}"
        )
    return chosen


def _progress_line(progress: bool | None, steps: int) -> Callable[[int], None]:
    if not (sys.stderr.isatty() if progress is None else progress):
        return lambda t: None
    began = shown = time.perf_counter()

    def show(t: int) -> None:
        nonlocal shown
        now = time.perf_counter()
        if t == steps or now - shown > 0.5:
            shown, left = now, (now - began) * (steps - t) / max(t, 1)
            line = f"\r[{'#' * (20 * t // steps):<20}] step {t}/{steps}, {left:.0f} s left   "
            print(line, end="\n" if t == steps else "", file=sys.stderr, flush=True)

    return show


def _check_arguments(network: Any, data: Any, objective: str, measure: Any) -> None:
    if not isinstance(network, Network):
        raise TypeError(
            f"network must be one of subspace_lib.networks (FeedForward, …), got "
            f"{type(network).__name__}"
        )
    check.matrix(check_data(data).X, "data.X")
    check_columns(network, data.X)
    needed = network.inputs if objective == "reconstruct" else data.n_clusters
    if network.outputs != needed:
        raise ValueError(
            f"network must have {needed} outputs to {objective}, got {network.outputs}; "
            f"use network.with_outputs({needed})"
        )
    if measure is not None and not callable(measure):
        raise TypeError(
            f"measure must be None or a function of the network and a checkpoint, such as "
            f"diagnostics.Diagnostics(data), got {type(measure).__name__}"
        )


def _trial_count(data: UnionOfSubspaces, trials: int | None) -> int:
    if data.X.ndim == 2:
        return 1 if trials is None else check.positive_int(trials, "trials")
    if trials not in (None, len(data.X)):
        raise ValueError(
            f"trials must be left out for data that have {len(data.X)} trials, got {trials}; "
            f"choose them in sample_union"
        )
    return len(data.X)


def _start(
    network: Network, data: UnionOfSubspaces, init: str | Params, config: Config, device: Any
) -> Params:
    """Fresh or given parameters; always a copy, since training works in place."""
    count, seed, dtype = config["trials"], config["seed"], getattr(torch, config["dtype"])
    if isinstance(init, str):
        check.one_of(init, INITS, "init")
        indices = data.trials if data.X.ndim == 3 else range(count)
        return network.init(init, trials=indices, seed=seed, dtype=dtype, device=device)
    wanted = {name: (count, *shape) for name, shape in network.shapes().items()}
    got = {name: tuple(p.shape) for name, p in init.items()} if isinstance(init, dict) else init
    if got != wanted:
        raise ValueError(
            f"init must be one of {', '.join(INITS)}, or parameters with the shapes {wanted}, "
            f"got {got}; network.init makes them, and a run has them in .params"
        )
    return {name: init[name].to(device, dtype).clone() for name in wanted}

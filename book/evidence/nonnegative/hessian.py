"""Is the non-negative start a local optimum? Gradient and exact Hessian of the trained loss.

``nonnegative-hessian``: a network small enough that all eigenvalues can be computed, at four
stages: at the start, with the readout fitted to the starting W, after training, and where a second
method stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.nonnegative.experiment import nonnegative_union, start
from evidence.setting import SMALL, names
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.networks import FeedForward
from subspace_lib.training import train

STAGES = ("start", "readout fitted", "trained", "converged")
FACTS = names(
    "loss gradient lowest highest zeros negatives determinant curved",
    "readout_lowest readout_gradient dead idle",
    "encoder_lowest encoder_highest encoder_gradient",
)
# An eigenvalue counts as zero below this share of the largest one: a gradient that is nearly but
# not exactly zero leaves null directions with eigenvalues of its own size.
ZERO = 1e-7


def relative_loss(W: Tensor, D: Tensor, X: Tensor) -> Tensor:
    """‖D relu(WX) − X‖_F²/‖X‖_F², the loss that is trained. W: (h, m), D: (m, h), X: (m, n)."""
    return (D @ torch.relu(W @ X) - X).square().sum() / X.square().sum()


def hessian(W: Tensor, D: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (2hm,) and Hessian (2hm, 2hm) of ``relative_loss`` by (W, D), rows of both first.

    The order is W_1, …, W_h, then D row by row. Exact where no pre-activation is zero.
    """
    size = W.numel()

    def flat(theta: Tensor) -> Tensor:
        return relative_loss(theta[:size].view_as(W), theta[size:].view_as(D), X)

    theta = torch.cat([W.flatten(), D.flatten()])
    return torch.func.grad(flat)(theta), torch.func.jacrev(torch.func.grad(flat))(theta)


def rescaling_directions(W: Tensor, D: Tensor) -> Tensor:
    """v_i = (W_i, −D_i) for every unit, in the order of ``hessian``: (h, 2hm)."""
    h = len(W)
    eye = torch.eye(h, dtype=W.dtype)
    return torch.cat([(eye[:, :, None] * W).flatten(1), -(eye[:, None] * D).flatten(1)], 1)


def facts(W: Tensor, D: Tensor, X: Tensor) -> dict[str, float]:
    """FACTS at one point.

    gradient: ‖g‖‖θ‖/loss, free of scale. lowest, highest: extreme eigenvalues of the Hessian;
    zeros, negatives: how many are below ZERO · highest in size, and below −ZERO · highest;
    determinant: its sign, 0 as soon as there are zeros. curved: the lowest eigenvalue on the
    orthogonal complement of the rescaling directions. readout_lowest: the lowest eigenvalue of the
    Hessian by D alone, readout_gradient: ‖g_D‖‖θ‖/loss. dead: units that are never active;
    idle: share of pre-activations that ReLU leaves alone. encoder_lowest, encoder_highest: the
    extreme eigenvalues of the Hessian by W alone, encoder_gradient: ‖g_W‖‖θ‖/loss.
    """
    theta = torch.cat([W.flatten(), D.flatten()])
    g, H = hessian(W, D, X)
    loss = relative_loss(W, D, X)
    values = torch.linalg.eigvalsh(H)
    floor = ZERO * values.abs().max()
    zeros, negatives = int((values.abs() <= floor).sum()), int((values < -floor).sum())
    V = rescaling_directions(W, D)
    rest = torch.linalg.svd(V, full_matrices=True).Vh[len(V) :]
    A = W @ X
    Y = torch.relu(A)
    readout = torch.linalg.eigvalsh(2 * Y @ Y.mT / X.square().sum())
    encoder = torch.linalg.eigvalsh(H[: W.numel(), : W.numel()])
    scale = theta.norm() / loss
    found = (
        *(loss, g.norm() * scale, values[0], values[-1], zeros, negatives),
        0 if zeros else (-1) ** negatives,
        torch.linalg.eigvalsh(rest @ H @ rest.mT)[0],
        readout[0],
        g[W.numel() :].norm() * scale,
        int((Y == 0).all(1).sum()),
        (A > 0).double().mean(),
        *(encoder[0], encoder[-1], g[: W.numel()].norm() * scale),
    )
    return {name: float(value) for name, value in zip(FACTS, found, strict=True)}


def converge(W: Tensor, D: Tensor, X: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Minimise on by L-BFGS with a Wolfe line search, at most ``steps`` iterations."""
    W, D = (p.clone().requires_grad_() for p in (W, D))
    stop: dict[str, Any] = {"max_iter": steps, "tolerance_grad": 1e-12, "tolerance_change": 1e-16}
    rule = torch.optim.LBFGS([W, D], history_size=50, line_search_fn="strong_wolfe", **stop)

    def closure() -> Tensor:
        rule.zero_grad()
        loss = relative_loss(W, D, X)
        loss.backward()
        return loss

    rule.step(closure)
    return W.detach(), D.detach()


@dataclass(frozen=True)
class Config:
    """Three planes in R²⁰ and eight units: 320 weights."""

    trials: int = 8
    ambient_dim: int = 20
    n_subspaces: int = 3
    subspace_dim: int = 2
    points_per_subspace: int = 25
    hidden: int = 8
    variance: float = 0.5
    adam: float = 0.003
    steps: int = 500
    polish: int = 2000
    seed: int = 0


def settings(config: Config) -> list[Setting]:
    data = (("signed", False), ("nonnegative", False), ("nonnegative", True))
    starts = ("usual", "nonnegative", "nonnegative-scaled", "nonnegative-hidden")
    return [{"data": kind, "clip": clip, "init": init} for kind, clip in data for init in starts]


def union(config: Config, setting: Setting, trial: int) -> UnionOfSubspaces:
    """The data of one trial, with a trial axis of length one."""
    sizes = {key: getattr(config, key) for key in (*SMALL, "variance", "seed")}
    return nonnegative_union(setting["data"], trials=[trial], clip=setting["clip"], **sizes)


def stages(
    config: Config, setting: Setting, trial: int
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """X (m, n), and (W, D) at each of STAGES, in double precision."""
    data = union(config, setting, trial)
    network = FeedForward((config.ambient_dim, config.hidden, config.ambient_dim))
    first = start(
        network, setting["init"], trials=[trial], seed=config.seed + 2, dtype=torch.float64
    )
    X, W, D = data.X[0], first["W1"][0], first["W2"][0]
    fitted = X @ torch.linalg.pinv(torch.relu(W @ X))
    run = train(
        network,
        data,
        optimizer="adam",
        lr=config.adam,
        steps=config.steps,
        init=first,
        normalize="data",
        checkpoints=[config.steps],
        dtype=torch.float64,
        progress=False,
    )
    after = run.params["W1"][0], run.params["W2"][0]
    return X, [(W, D), (W, fitted), after, converge(*after, X, config.polish)]


def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """FACTS, (stages, trials) each."""
    found: dict[str, list[list[float]]] = {name: [] for name in FACTS}
    for trial in range(config.trials):
        X, weights = stages(config, setting, trial)
        rows = [facts(W, D, X) for W, D in weights]
        for name in FACTS:
            found[name].append([row[name] for row in rows])
    return {name: np.array(values).T for name, values in found.items()}


experiment(
    "nonnegative-hessian",
    "Gradient and Hessian at and after the non-negative start",
    quick=Config(trials=2, ambient_dim=10, points_per_subspace=12, hidden=4, polish=500),
    full=Config(),
    settings=settings,
    compute=compute,
    axes={"*": -1},
)

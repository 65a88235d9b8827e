"""Stacked networks: the weights of all trials in one tensor, the trial axis in plain view.

A parameter is (trials, …) and a product is ``baddbmm`` over the trials, so a hundred small networks
run as one. X holds one point per column: (trials, m, n), or (m, n) shared by all trials. Every
representation is (trials, width, n), one column per point, whatever the architecture.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import _random as rnd

Params = dict[str, Tensor]
Views = Mapping[str, tuple[Tensor | None, Tensor]]  # name → (pre, post)
N = TypeVar("N", bound="Network")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "identity": lambda A: A,
    "leaky_relu": F.leaky_relu,  # slope 0.01 on the negative side
    "abs": torch.abs,
}
UNIFORM: dict[str, Callable[[int], tuple[float, float]]] = {  # by the fan-in of the weight
    "usual": lambda f: (-(f**-0.5), f**-0.5),
    "printed": lambda f: (-(f**0.5), f**0.5),
    "nonnegative": lambda f: (0.0, 1.0),
    "nonnegative-first": lambda f: (0.0, 1.0),
    "nonnegative-scaled": lambda f: (0.0, f**-0.5),
}
INITS = (*UNIFORM, "gaussian", "orthogonal")


@dataclass(frozen=True)
class Layer:
    """What one layer makes of the data; tensors are (trials, width, n).

    pre: WX (+ b), before the activation; None where there is no such matrix (attention).
    post: Y, the representation.
    weight, bias: W (trials, width, fan-in) and b (trials, width) where Y = σ(WX + b).
    previous: index of the layer this one is to be compared with; None is the data X.
    """

    name: str
    pre: Tensor | None
    post: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    previous: int | None = None


class Network(ABC):
    """An architecture without weights: ``init`` draws them, ``layers`` and ``output`` apply them.

    A subclass is a frozen dataclass that lists its parameters (``shapes``, per trial) and says how
    they act (``act``). Names that start with "b" are biases (zero at first), with "gain" scales of
    a layer norm (one at first); all others are weights whose last axis is their fan-in.
    """

    inputs: int  # m, the height of X
    outputs: int  # m to reconstruct, the number of clusters to classify

    def __post_init__(self) -> None:
        """Sizes are integers from 1, alone or several as a tuple."""
        for field in fields(self):  # type: ignore[arg-type]
            name, value = field.name, getattr(self, field.name)
            if field.type == "int":
                check.room(check.positive_int(value, name), name)
                object.__setattr__(self, name, int(value))  # of a short type, products overflow
            if field.type == "tuple[int, ...]":
                object.__setattr__(self, name, tuple(check.positive_ints(value, name)))

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name → shape in one trial, the first layer first."""

    @abstractmethod
    def act(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        """``forward`` for an X of the right height."""

    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        """The observed layers and the output (trials, outputs, n)."""
        check_columns(self, X)
        return self.act(params, X)

    def layers(self, params: Params, X: Tensor) -> list[Layer]:
        """The observed layers, first to last."""
        return self.forward(params, X)[0]

    def output(self, params: Params, X: Tensor) -> Tensor:
        """The output: reconstruction or logits."""
        return self.forward(params, X)[1]

    def config(self) -> dict[str, Any]:
        """Class name and fields, plain values only."""
        return {"network": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def with_outputs(self: N, outputs: int) -> N:
        """The same network with another height of the output."""
        return replace(self, outputs=outputs)  # type: ignore[type-var]

    def init(
        self,
        scheme: str = "usual",
        *,
        trials: int | Sequence[int] | None = None,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Params:
        """Initial parameters, each (trials, …), with a random stream for every trial.

        f is the fan-in of a weight, the length of its last axis (m in the first layer):
          "usual"               uniform(−1/√f, 1/√f)
          "printed"             uniform(−√f, √f), as the paper prints it
          "nonnegative"         uniform(0, 1) for every weight, the readout included: the paper's
          "nonnegative-first"   uniform(0, 1) for the first weight, the rest as usual
          "nonnegative-scaled"  uniform(0, 1/√f) for every weight
          "gaussian"            N(0, 1/f)
          "orthogonal"          orthonormal rows (columns where it is tall), uniformly random
        Biases start at zero and gains at one in all of them. ``trials`` as in ``sample_union``
        (None: one trial): trial t alone is trial t of 100, whatever the others are.
        Raises ValueError for another scheme or a bad trial, TypeError for another dtype.
        """
        check.one_of(scheme, INITS, "scheme")
        check.floating(dtype)
        chosen = rnd.trial_indices(trials)
        params: Params = {}
        shapes = self.shapes()
        check.room(sum(map(math.prod, shapes.values())) * len(chosen), f"trials of {self}", device)
        for name, shape in shapes.items():
            if name.startswith(("b", "gain")):
                fill = 1.0 if name.startswith("gain") else 0.0
                params[name] = torch.full((len(chosen), *shape), fill, dtype=dtype, device=device)
                continue
            sample = _sampler(scheme, shape)
            params[name] = rnd.draw(sample, seed, f"init {name}", chosen, dtype, device)
            scheme = "usual" if scheme == "nonnegative-first" else scheme  # after the first weight
        return params


def _sampler(scheme: str, shape: tuple[int, ...]) -> Callable[[np.random.Generator], np.ndarray]:
    """One trial of one weight. Per slice: on the stack, torch.nn.init counts a wrong fan-in."""
    f = shape[-1]
    if scheme == "gaussian":
        return lambda g: g.standard_normal(shape) / f**0.5
    if scheme == "orthogonal":
        return lambda g: _orthonormal(g.standard_normal((int(np.prod(shape[:-1])), f)), shape)
    low, high = UNIFORM[scheme](f)
    return lambda g: g.uniform(low, high, shape)


def _orthonormal(gaussian: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    wide = gaussian.shape[0] < gaussian.shape[1]
    Q, R = np.linalg.qr(gaussian.T if wide else gaussian)
    Q = Q * np.sign(np.diag(R))  # makes the distribution uniform
    return (Q.T if wide else Q).reshape(shape)


def affine(W: Tensor, X: Tensor, b: Tensor | None = None) -> Tensor:
    """W X + b 1ᵀ for every trial. W: (T, p, m), X: (T, m, n) or (m, n), b: (T, p) → (T, p, n)."""
    if X.ndim == 2:  # one data matrix for all trials: a single tall product
        A = W @ X
        return A if b is None else A + b[..., None]
    return torch.bmm(W, X) if b is None else torch.baddbmm(b[..., None], W, X)


def observe(seen: list[Layer], name: str, views: Views) -> None:
    """Add a layer's views, each to be compared with the same view of the layer before."""
    for view, (pre, post) in views.items():
        previous = len(seen) - len(views) if len(seen) >= len(views) else None
        seen.append(Layer(f"{name} {view}", pre, post, previous=previous))


def check_columns(network: Network, X: Tensor) -> None:
    """X must have the height the network was built for."""
    if X.ndim not in (2, 3) or X.shape[-2] != network.inputs:
        raise ValueError(
            f"X must be (trials, {network.inputs}, n) or ({network.inputs}, n) for this network, "
            f"got {tuple(X.shape)}; one point per column"
        )


def stacked(params: Params, X: Tensor) -> Tensor:
    """X with a trial axis: data that all trials share are repeated (a view, no copy)."""
    return X if X.ndim == 3 else X.expand(len(next(iter(params.values()))), *X.shape)


def whole_part(number: int, parts: int, name: str) -> int:
    if number % parts:
        raise ValueError(
            f"{name} must divide the {number} inputs, got {parts}; the pieces have equal length"
        )
    return number // parts

"""Stacked networks: the weights of all trials in one tensor, the trial axis in plain view.

A parameter is (trials, …) and a product is ``baddbmm`` over the trials, so a hundred small networks
run as one. X holds one point per column: (trials, m, n), or (m, n) shared by all trials. Every
representation is (trials, width, n), one column per point, whatever the architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib import _random as rnd

Params = dict[str, Tensor]
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
INITS = (
    "usual", "printed", "nonnegative", "nonnegative-first", "nonnegative-scaled", "gaussian",
    "orthogonal",
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """What one layer makes of the data; tensors are (trials, width, n).

    pre: WX (+ b), before the activation; None where there is no such matrix (attention).
    post: Y = σ(pre), the representation.
    weight, bias: W (trials, width, fan-in) and b (trials, width) or None, where the layer is
      σ(WX + b) of the previous representation.
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
    they act (``forward``). Names that start with "b" are biases (zero at first), with "gain" scales
    of a layer norm (one at first); all others are weights whose last axis is their fan-in.
    """

    inputs: int
    """m, the height of X."""
    outputs: int
    """Height of the output: m to reconstruct, the number of clusters to classify."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name → shape in one trial, the first layer first."""

    @abstractmethod
    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        """The observed layers and the output (trials, outputs, n)."""

    def layers(self, params: Params, X: Tensor) -> list[Layer]:
        """The observed layers, first to last."""
        return self.forward(params, X)[0]

    def output(self, params: Params, X: Tensor) -> Tensor:
        """The output (trials, outputs, n): reconstruction or logits."""
        return self.forward(params, X)[1]

    def config(self) -> dict[str, Any]:
        """Class name and fields, plain values only."""
        return {"network": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def with_outputs(self: N, outputs: int) -> N:
        """The same network with another readout width (m to reconstruct, K to classify)."""
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
        """Initial parameters, each with a leading trial axis and one random stream per trial.

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
        check.one_of(scheme, INITS, "init")
        check.floating(dtype)
        chosen = rnd.trial_indices(trials)
        shapes = self.shapes()
        first = next(name for name in shapes if not name.startswith(("b", "gain")))
        params = {}
        for name, shape in shapes.items():
            if name.startswith(("b", "gain")):
                fill = 1.0 if name.startswith("gain") else 0.0
                params[name] = torch.full((len(chosen), *shape), fill, dtype=dtype, device=device)
                continue
            usual = scheme == "nonnegative-first" and name != first
            sample = _sampler("usual" if usual else scheme, shape)
            params[name] = rnd.draw(sample, seed, f"init {name}", chosen, dtype, device)
        return params


def _sampler(scheme: str, shape: tuple[int, ...]) -> Callable[[np.random.Generator], np.ndarray]:
    """One trial of one weight. Per slice: on the stack, torch.nn.init counts a wrong fan-in."""
    f = shape[-1]
    if scheme == "gaussian":
        return lambda g: g.standard_normal(shape) / f**0.5
    if scheme == "orthogonal":
        return lambda g: _orthonormal(g.standard_normal((int(np.prod(shape[:-1])), f)), shape)
    low, high = {
        "usual": (-(f**-0.5), f**-0.5),
        "printed": (-(f**0.5), f**0.5),
        "nonnegative": (0.0, 1.0),
        "nonnegative-first": (0.0, 1.0),
        "nonnegative-scaled": (0.0, f**-0.5),
    }[scheme]
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


def _sizes(**sizes: Any) -> None:
    for name, value in sizes.items():
        check.positive_int(value, name)


def check_columns(network: Network, X: Tensor) -> None:
    """X must have the height the network was built for."""
    if X.ndim not in (2, 3) or X.shape[-2] != network.inputs:
        raise ValueError(
            f"X must be (trials, {network.inputs}, n) or ({network.inputs}, n) for this network, "
            f"got {tuple(X.shape)}; one point per column"
        )


@dataclass(frozen=True)
class FeedForward(Network):
    """Y_l = σ(W_l Y_{l−1} + b_l), Y_0 = X; every hidden layer is observed.

    widths: (m, hidden …, outputs): (400, 80, 400) is the autoencoder with one hidden layer of 80.
    activation: "relu", "gelu", "silu", "tanh", "identity", "leaky_relu" (slope 0.01) or "abs".
    bias: in every layer, the last included (the paper has none).
    output: activation of the last layer; "identity" is a linear readout.
    Parameters: W1, b1, …; W_l is (trials, widths[l], widths[l−1]).
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    bias: bool = False
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if len(self.widths) < 3:
            raise ValueError(
                f"widths must list the input, one or more hidden layers and the output, as in "
                f"(400, 80, 400), got {self.widths}"
            )
        _sizes(**{f"widths[{i}]": w for i, w in enumerate(self.widths)})
        check.one_of(self.activation, tuple(ACTIVATIONS), "activation")
        check.one_of(self.output_activation, tuple(ACTIVATIONS), "output_activation")

    @property
    def inputs(self) -> int:  # type: ignore[override]
        return self.widths[0]

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.widths[-1]

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.widths) - 2

    def with_outputs(self, outputs: int) -> FeedForward:
        return replace(self, widths=(*self.widths[:-1], outputs))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for i, (fan_in, width) in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            found[f"W{i}"] = (width, fan_in)
            if self.bias:
                found[f"b{i}"] = (width,)
        return found

    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        check_columns(self, X)
        act, seen, Y = ACTIVATIONS[self.activation], [], X
        for i in range(1, self.depth + 1):
            W = params[f"W{i}"]  # (T, p, m)
            b = params.get(f"b{i}")  # (T, p) or None
            pre = affine(W, Y, b)  # (T, p, n)
            Y = act(pre)
            seen.append(Layer(f"layer {i}", pre, Y, W, b, None if i == 1 else i - 2))
        i = self.depth + 1
        out = affine(params[f"W{i}"], Y, params.get(f"b{i}"))
        return seen, ACTIVATIONS[self.output_activation](out)


def _stacked(params: Params, X: Tensor) -> Tensor:
    """X with a trial axis: data that all trials share are repeated (a view, no copy)."""
    return X if X.ndim == 3 else X.expand(len(next(iter(params.values()))), *X.shape)


def _whole(number: int, parts: int, name: str) -> int:
    if number % parts:
        raise ValueError(
            f"{name} must divide the {number} inputs, got {parts}; the pieces have equal length"
        )
    return number // parts


@dataclass(frozen=True)
class Recurrent(Network):
    """Stacked LSTM layers with ReLU in place of both tanh, over the pieces of each column.

    x_j is cut into ``steps`` pieces x_1, x_2, … of equal length, fed one after the other. With
    (i, f, g, o) the four blocks of W_x x_t + W_h h_{t−1} + b, in PyTorch's order,
      c_t = sigmoid(f) ⊙ c_{t−1} + sigmoid(i) ⊙ relu(g),   h_t = sigmoid(o) ⊙ relu(c_t),
    from h_0 = c_0 = 0. Since every term of c_t is ≥ 0, relu(c_t) = c_t: the second ReLU of such a
    layer never acts. The next layer reads the sequence h_1, h_2, …
    Observed per layer: "last" h of the last step (trials, hidden, n), and "all" steps stacked
    (trials, steps · hidden, n). pre is the g belonging to them, the layer's WX before its ReLU; Y
    is not σ(pre) alone, since gates and memory come in.
    readout: linear, from the "last" state or from "all" states of the top layer.
    """

    inputs: int
    hidden: int
    outputs: int
    steps: int = 8
    depth: int = 3
    readout: str = "last"

    def __post_init__(self) -> None:
        _sizes(inputs=self.inputs, hidden=self.hidden, outputs=self.outputs)
        _sizes(steps=self.steps, depth=self.depth)
        _whole(self.inputs, self.steps, "steps")
        check.one_of(self.readout, ("last", "all"), "readout")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for i in range(1, self.depth + 1):
            fan_in = self.inputs // self.steps if i == 1 else self.hidden
            found[f"W{i}_x"] = (4 * self.hidden, fan_in)
            found[f"W{i}_h"] = (4 * self.hidden, self.hidden)
            found[f"b{i}"] = (4 * self.hidden,)
        height = self.hidden * (1 if self.readout == "last" else self.steps)
        return found | {"W_out": (self.outputs, height), "b_out": (self.outputs,)}

    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        check_columns(self, X)
        pieces = _stacked(params, X).unflatten(1, (self.steps, -1))  # (T, steps, d, n)
        sequence = list(pieces.unbind(1))
        seen: list[Layer] = []
        for i in range(1, self.depth + 1):
            candidates, sequence = self._layer(params, i, sequence)
            before = None if i == 1 else len(seen) - 2
            seen.append(Layer(f"lstm {i} last", candidates[-1], sequence[-1], previous=before))
            pre, post = torch.cat(candidates, 1), torch.cat(sequence, 1)  # (T, steps · h, n)
            before = None if before is None else before + 1
            seen.append(Layer(f"lstm {i} all", pre, post, previous=before))
        top = seen[-2 if self.readout == "last" else -1].post
        return seen, affine(params["W_out"], top, params["b_out"])

    def _layer(
        self, params: Params, i: int, sequence: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Candidates g_t and states h_t, each (T, hidden, n), for every step."""
        candidates: list[Tensor] = []
        states: list[Tensor] = []
        c: Tensor | None = None
        for x in sequence:
            gates = affine(params[f"W{i}_x"], x, params[f"b{i}"])  # (T, 4h, n)
            if states:
                gates = torch.baddbmm(gates, params[f"W{i}_h"], states[-1])
            enter, keep, g, leave = gates.chunk(4, 1)
            new = torch.sigmoid(enter) * torch.relu(g)
            c = new if c is None else torch.sigmoid(keep) * c + new
            candidates.append(g)
            states.append(torch.sigmoid(leave) * torch.relu(c))
        return candidates, states


@dataclass(frozen=True)
class Convolutional(Network):
    """1-D convolutions along each column, ReLU after each, and a linear readout.

    The column is a signal of length m with one channel; layer l has channels[l] channels, kernels
    of length ``kernel`` (zero padding kernel // 2 on both sides) and stride ``stride``. Weights are
    (trials, out channels, in channels · kernel), a flattened torch.nn.Conv1d weight.
    Observed per layer: "maps" (trials, channels · length, n), and "pooled", their mean over the
    length (trials, channels, n). readout: from the last layer's "flattened" maps, or "pooled".
    """

    inputs: int
    outputs: int
    channels: tuple[int, ...] = (4, 8, 16)
    kernel: int = 5
    stride: int = 2
    readout: str = "flattened"

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        _sizes(inputs=self.inputs, outputs=self.outputs, kernel=self.kernel, stride=self.stride)
        _sizes(**{f"channels[{i}]": c for i, c in enumerate(self.channels)})
        check.one_of(self.readout, ("flattened", "pooled"), "readout")
        if not self.channels:
            raise ValueError("channels must list one number per layer, as in (4, 8, 16), got none")

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of the maps of every layer."""
        found, length = [], self.inputs
        for _ in self.channels:
            length = (length + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1
            found.append(length)
        return tuple(found)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        fan_ins = (1, *self.channels)
        for i, (before, width) in enumerate(zip(fan_ins, self.channels, strict=False), 1):
            found[f"W{i}"] = (width, before * self.kernel)
            found[f"b{i}"] = (width,)
        height = self.channels[-1] * (1 if self.readout == "pooled" else self.lengths[-1])
        return found | {"W_out": (self.outputs, height), "b_out": (self.outputs,)}

    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        check_columns(self, X)
        A = _stacked(params, X)[:, None]  # (T, 1 channel, m, n)
        seen: list[Layer] = []
        for i in range(1, len(self.channels) + 1):
            pre = self._convolve(A, params[f"W{i}"], params[f"b{i}"])  # (T, channels, length, n)
            A = torch.relu(pre)
            before = None if i == 1 else len(seen) - 2
            seen.append(
                Layer(f"conv {i} maps", pre.flatten(1, 2), A.flatten(1, 2), previous=before)
            )
            before = None if before is None else before + 1
            seen.append(Layer(f"conv {i} pooled", pre.mean(2), A.mean(2), previous=before))
        top = seen[-1 if self.readout == "pooled" else -2].post
        return seen, affine(params["W_out"], top, params["b_out"])

    def _convolve(self, A: Tensor, W: Tensor, b: Tensor) -> Tensor:
        """Windows side by side, then one product per trial."""
        A = torch.nn.functional.pad(A, (0, 0, self.kernel // 2, self.kernel // 2))
        length = (A.shape[2] - self.kernel) // self.stride + 1
        reach = (length - 1) * self.stride + 1
        windows = [A[:, :, j : j + reach : self.stride] for j in range(self.kernel)]
        unfolded = torch.stack(windows, 2).flatten(1, 2).flatten(2)  # (T, in · kernel, length · n)
        return affine(W, unfolded, b).unflatten(2, (length, -1))


@dataclass(frozen=True)
class Transformer(Network):
    """Blocks of attention and a ReLU network, each with layer norm in front and a residual around.

    x_j is cut into ``tokens`` pieces of equal length, each embedded in ``width`` dimensions plus a
    learned position. A block does H ← H + W_o attention(norm H), H ← H + W_down relu(W_up norm H)
    with softmax(QᵀK/√d) attention in ``heads`` heads, every token seeing every other. Layer norms
    add 1e-5 to the variance, so that data far below that scale are hardly seen: scale the data.
    Observed per block: "tokens" flattened (trials, width · tokens, n), the "first token" and the
    "pooled" mean over the tokens (trials, width, n), of the residual stream. There is no WX: pre is
    None. readout: linear after a last layer norm, from the "flattened" or "pooled" tokens.
    """

    inputs: int
    outputs: int
    tokens: int = 8
    width: int = 16
    blocks: int = 4
    heads: int = 2
    mlp: int = 32
    readout: str = "flattened"

    def __post_init__(self) -> None:
        _sizes(inputs=self.inputs, outputs=self.outputs, tokens=self.tokens, width=self.width)
        _sizes(blocks=self.blocks, heads=self.heads, mlp=self.mlp)
        _whole(self.inputs, self.tokens, "tokens")
        check.one_of(self.readout, ("flattened", "pooled"), "readout")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}, got {self.heads}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        D = self.width
        found: dict[str, tuple[int, ...]] = {
            "W_embed": (D, self.inputs // self.tokens),
            "b_embed": (D,),
            "position": (self.tokens, D),
        }
        for i in range(1, self.blocks + 1):
            found |= {f"gain{i}_attention": (D,), f"b{i}_attention": (D,)}
            found |= {f"W{i}_{name}": (D, D) for name in ("query", "key", "value", "mix")}
            found |= {f"gain{i}_mlp": (D,), f"b{i}_mlp": (D,)}
            found |= {f"W{i}_up": (self.mlp, D), f"b{i}_up": (self.mlp,)}
            found |= {f"W{i}_down": (D, self.mlp), f"b{i}_down": (D,)}
        height = D * (1 if self.readout == "pooled" else self.tokens)
        found |= {"gain_out": (D,), "b_norm": (D,)}
        return found | {"W_out": (self.outputs, height), "b_out": (self.outputs,)}

    def forward(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        check_columns(self, X)
        X = _stacked(params, X)
        pieces = X.unflatten(1, (self.tokens, -1)).transpose(1, 2)  # (T, m/S, S tokens, n)
        H = self._each(params["W_embed"], pieces, params["b_embed"])  # (T, D, S, n)
        H = H + params["position"].mT[..., None]
        seen: list[Layer] = []
        for i in range(1, self.blocks + 1):
            H = H + self._attention(
                params, i, _norm(params, H, f"gain{i}_attention", f"b{i}_attention")
            )
            A = _norm(params, H, f"gain{i}_mlp", f"b{i}_mlp")
            A = torch.relu(self._each(params[f"W{i}_up"], A, params[f"b{i}_up"]))
            H = H + self._each(params[f"W{i}_down"], A, params[f"b{i}_down"])
            views = {"tokens": H.flatten(1, 2), "first token": H[:, :, 0], "pooled": H.mean(2)}
            for name, view in views.items():
                before = None if i == 1 else len(seen) - len(views)
                seen.append(Layer(f"block {i} {name}", None, view, previous=before))
        H = _norm(params, H, "gain_out", "b_norm")
        top = H.mean(2) if self.readout == "pooled" else H.flatten(1, 2)
        return seen, affine(params["W_out"], top, params["b_out"])

    @staticmethod
    def _each(W: Tensor, H: Tensor, b: Tensor | None = None) -> Tensor:
        """W times every token of every point. W: (T, p, D), H: (T, D, S, n) → (T, p, S, n)."""
        return affine(W, H.flatten(2), b).unflatten(2, H.shape[2:])

    def _attention(self, params: Params, i: int, H: Tensor) -> Tensor:
        def heads(name: str) -> Tensor:  # (T, heads, n, S, d)
            A = self._each(params[f"W{i}_{name}"], H).unflatten(1, (self.heads, -1))
            return A.permute(0, 1, 4, 3, 2)

        query, key, value = heads("query"), heads("key"), heads("value")
        weights = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, -1)  # (T, heads, n, S, S)
        mixed = (weights @ value).permute(0, 1, 4, 3, 2).flatten(1, 2)  # (T, D, S, n)
        return self._each(params[f"W{i}_mix"], mixed)


def _norm(params: Params, H: Tensor, gain: str, bias: str) -> Tensor:
    """Layer norm over the D coordinates of each token. H: (T, D, S, n)."""
    centred = H - H.mean(1, keepdim=True)
    scaled = centred * (centred.square().mean(1, keepdim=True) + 1e-5).rsqrt()
    return scaled * params[gain][..., None, None] + params[bias][..., None, None]

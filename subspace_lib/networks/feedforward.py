"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.networks.base import ACTIVATIONS, Layer, Network, Params, affine


@dataclass(frozen=True)
class FeedForward(Network):
    """Y_l = σ(W_l Y_{l−1} + b_l), Y_0 = X; every hidden layer is observed.

    widths: (m, hidden …, outputs): (400, 80, 400) is the autoencoder with one hidden layer of 80.
    activation: "relu", "gelu", "silu", "tanh", "identity", "leaky_relu" (slope 0.01) or "abs".
    bias: in every layer, the last (a linear readout) included; the paper has none.
    Parameters: W1, b1, …; W_l is (trials, widths[l], widths[l−1]).

    >>> network = sl.FeedForward((30, 16, 30))
    >>> network.layers(network.init(trials=4, seed=0), noisy.X.float())[0].post.shape
    torch.Size([4, 16, 60])
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) < 3:
            raise ValueError(
                f"widths must list the input, one or more hidden layers and the output, as in "
                f"(400, 80, 400), got {self.widths}"
            )
        check.one_of(self.activation, tuple(ACTIVATIONS), "activation")

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

    def act(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        act, seen, Y = ACTIVATIONS[self.activation], [], X
        for i in range(1, self.depth + 1):
            W = params[f"W{i}"]  # (T, p, m)
            b = params.get(f"b{i}")  # (T, p) or None
            pre = affine(W, Y, b)  # (T, p, n)
            Y = act(pre)
            seen.append(Layer(f"layer {i}", pre, Y, W, b, None if i == 1 else i - 2))
        i = self.depth + 1
        return seen, affine(params[f"W{i}"], Y, params.get(f"b{i}"))

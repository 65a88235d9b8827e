"""Convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.networks.base import (
    Layer,
    Network,
    Params,
    affine,
    check_columns,
    positive_sizes,
    stacked,
)


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
        positive_sizes(
            inputs=self.inputs, outputs=self.outputs, kernel=self.kernel, stride=self.stride
        )
        positive_sizes(**{f"channels[{i}]": c for i, c in enumerate(self.channels)})
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
        A = stacked(params, X)[:, None]  # (T, 1 channel, m, n)
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

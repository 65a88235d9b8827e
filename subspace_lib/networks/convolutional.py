"""Convolutions of images."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.networks.base import Layer, Network, Params, affine, observe, stacked


@dataclass(frozen=True)
class Convolutional(Network):
    """2-D convolutions of square images, ReLU after each, and a linear readout.

    A column of length side² is an image with one channel, row by row. Layer l has channels[l]
    channels and kernel × kernel entries a kernel (zero padding kernel // 2 on all sides). Weights
    are (trials, out channels, in channels · kernel²), a flattened torch.nn.Conv2d weight.
    Observed per layer: "maps" (trials, channels · positions, n), the middle "position" and the
    "pooled" mean over the positions (trials, channels, n). readout: from the last layer's
    "flattened" maps or from their "pooled" mean.

    >>> network = sl.networks.Convolutional(inputs=25, outputs=3, channels=(4, 8))
    >>> network.output(network.init(seed=0), noisy.X[:25].float()).shape
    torch.Size([1, 3, 60])
    """

    inputs: int
    outputs: int
    channels: tuple[int, ...] = (4, 8, 20)
    kernel: int = 3
    stride: int = 2
    readout: str = "flattened"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isqrt(self.inputs) ** 2 != self.inputs:
            raise ValueError(f"inputs must be a square number of pixels, got {self.inputs}")
        if not self.channels:
            raise ValueError("channels must list one number per layer, as in (4, 8, 16), got none")
        check.one_of(self.readout, ("flattened", "pooled"), "readout")

    @property
    def sides(self) -> tuple[int, ...]:
        """Side of the image before the first layer and after each."""
        found = [isqrt(self.inputs)]
        for _ in self.channels:
            found.append((found[-1] + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1)
        return tuple(found)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        before = 1
        for i, width in enumerate(self.channels, 1):
            found |= {f"W{i}": (width, before * self.kernel**2), f"b{i}": (width,)}
            before = width
        height = before * (1 if self.readout == "pooled" else self.sides[-1] ** 2)
        return found | {"W_out": (self.outputs, height), "b_out": (self.outputs,)}

    def act(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        side = self.sides[0]
        A = stacked(params, X).unflatten(1, (1, side, side))  # (T, 1 channel, side, side, n)
        seen: list[Layer] = []
        for i in range(1, len(self.channels) + 1):
            pre = self.convolve(A, params[f"W{i}"], params[f"b{i}"])
            A = torch.relu(pre)  # (T, channels, side, side, n)
            middle = A.shape[2] // 2
            views = {
                "maps": (pre.flatten(1, 3), A.flatten(1, 3)),
                "position": (pre[:, :, middle, middle], A[:, :, middle, middle]),
                "pooled": (pre.mean((2, 3)), A.mean((2, 3))),
            }
            observe(seen, f"conv {i}", views)
        top = seen[-1 if self.readout == "pooled" else -3].post
        return seen, affine(params["W_out"], top, params["b_out"])

    def convolve(self, A: Tensor, W: Tensor, b: Tensor) -> Tensor:
        """All windows side by side, then one product per trial. A: (T, in, side, side, n)."""
        k, step, pad = self.kernel, self.stride, self.kernel // 2
        A = torch.nn.functional.pad(A, (0, 0, pad, pad, pad, pad))
        reach = A.shape[2] - k + 1
        corners = [(y, x) for y in range(k) for x in range(k)]
        windows = [A[:, :, y : y + reach : step, x : x + reach : step] for y, x in corners]
        unfolded = torch.stack(windows, 2).flatten(1, 2).flatten(2)  # (T, in·k², positions · n)
        return affine(W, unfolded, b).unflatten(2, windows[0].shape[2:])

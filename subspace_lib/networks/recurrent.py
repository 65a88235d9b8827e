"""LSTM layers with ReLU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.networks.base import Layer, Network, Params, affine, observe, stacked, whole_part


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
    is not σ(pre) alone, since gates and memory come in. readout: linear, from one of the two.

    >>> network = sl.networks.Recurrent(inputs=30, hidden=8, outputs=3, steps=5, depth=1)
    >>> [layer.name for layer in network.layers(network.init(seed=0), noisy.X.float())]
    ['lstm 1 last', 'lstm 1 all']
    """

    inputs: int
    hidden: int
    outputs: int
    steps: int = 8
    depth: int = 3
    readout: str = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_part(self.inputs, self.steps, "steps")
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

    def act(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        pieces = stacked(params, X).unflatten(1, (self.steps, -1))  # (T, steps, d, n)
        sequence = list(pieces.unbind(1))
        seen: list[Layer] = []
        for i in range(1, self.depth + 1):
            candidates, sequence = self._layer(params, i, sequence)
            whole = torch.cat(candidates, 1), torch.cat(sequence, 1)  # (T, steps · hidden, n)
            observe(seen, f"lstm {i}", {"last": (candidates[-1], sequence[-1]), "all": whole})
        top = seen[-2 if self.readout == "last" else -1].post
        return seen, affine(params["W_out"], top, params["b_out"])

    def _layer(self, params: Params, i: int, sequence: list[Tensor]) -> tuple[list[Tensor], ...]:
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

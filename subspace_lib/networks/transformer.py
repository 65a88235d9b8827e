"""Attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.networks.base import Layer, Network, Params, affine, observe, stacked, whole_part


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

    >>> network = sl.networks.Transformer(inputs=30, outputs=3, tokens=5, width=8, blocks=1)
    >>> [layer.name for layer in network.layers(network.init(seed=0), noisy.X.float())]
    ['block 1 tokens', 'block 1 first token', 'block 1 pooled']
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
        super().__post_init__()
        whole_part(self.inputs, self.tokens, "tokens")
        check.one_of(self.readout, ("flattened", "pooled"), "readout")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}, got {self.heads}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        D = self.width
        found: dict[str, tuple[int, ...]] = {"W_embed": (D, self.inputs // self.tokens)}
        found |= {"b_embed": (D,), "position": (self.tokens, D)}
        for i in range(1, self.blocks + 1):
            found |= {f"gain{i}_attention": (D,), f"b{i}_attention": (D,)}
            found |= {f"W{i}_{name}": (D, D) for name in ("query", "key", "value", "mix")}
            found |= {f"gain{i}_mlp": (D,), f"b{i}_mlp": (D,)}
            found |= {f"W{i}_up": (self.mlp, D), f"b{i}_up": (self.mlp,)}
            found |= {f"W{i}_down": (D, self.mlp), f"b{i}_down": (D,)}
        height = D * (1 if self.readout == "pooled" else self.tokens)
        found |= {"gain_out": (D,), "b_norm": (D,)}
        return found | {"W_out": (self.outputs, height), "b_out": (self.outputs,)}

    def act(self, params: Params, X: Tensor) -> tuple[list[Layer], Tensor]:
        pieces = stacked(params, X).unflatten(1, (self.tokens, -1))  # (T, S tokens, m/S, n)
        H = self._each(params["W_embed"], pieces.transpose(1, 2), params["b_embed"])  # (T, D, S, n)
        H = H + params["position"].mT[..., None]
        seen: list[Layer] = []
        for i in range(1, self.blocks + 1):
            A = _norm(params, H, f"gain{i}_attention", f"b{i}_attention")
            H = H + self._attention(params, i, A)
            A = _norm(params, H, f"gain{i}_mlp", f"b{i}_mlp")
            A = torch.relu(self._each(params[f"W{i}_up"], A, params[f"b{i}_up"]))
            H = H + self._each(params[f"W{i}_down"], A, params[f"b{i}_down"])
            views = {"tokens": H.flatten(1, 2), "first token": H[:, :, 0], "pooled": H.mean(2)}
            observe(seen, f"block {i}", {name: (None, view) for name, view in views.items()})
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

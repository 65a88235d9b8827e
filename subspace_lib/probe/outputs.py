"""What a module gave, as a matrix with one column per sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, unpack_sequence

REDUCTIONS = ("flatten", "mean", "last")
Select = Callable[[Any], Tensor]


def columns_of(output: Any, module: nn.Module, row: str, how: str, select: Select | None) -> Tensor:
    """(p, batch), a copy: the model may overwrite its output in place. how: of ``REDUCTIONS``."""
    value = first_tensor(output) if select is None else select(output)
    if value is None:
        raise TypeError(
            f"layer {row!r} must give a tensor or a tuple that starts with one, got "
            f"{type(output).__name__}; select=function picks a tensor from it"
        )
    kind = getattr(value.data if isinstance(value, PackedSequence) else value, "dtype", None)
    if isinstance(value, Tensor) and value.is_quantized:
        value, kind = value.dequantize(), torch.float32
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise TypeError(
            f"layer {row!r} must give real floating-point tensors, got "
            f"{kind or type(value).__name__}; select=function picks another part of its output"
        )
    if isinstance(value, PackedSequence):
        found = _together(unpack_sequence(value), how)
    elif value.is_nested:
        found = _together(list(value.unbind()), how)
    else:
        turned = select is None and value.ndim > 2 and _time_first(module)
        found = _reduced(value.transpose(0, 1) if turned else value, how, row)
    return found.detach().to(torch.promote_types(kind, torch.float32)).mT.clone()


def first_tensor(output: Any) -> Any:
    """A tensor or packed sequence: the output, or the first one in it; None if there is none."""
    if isinstance(output, (Tensor, PackedSequence)):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    several = parts if isinstance(parts, Iterable) else ()
    return next((part for part in several if isinstance(part, (Tensor, PackedSequence))), None)


def _time_first(module: nn.Module) -> bool:
    """(time, batch, features): recurrent and attention modules with batch_first=False."""
    owner = module if hasattr(module, "batch_first") else getattr(module, "self_attn", module)
    return getattr(owner, "batch_first", True) is False


def _together(parts: list[Tensor], how: str) -> Tensor:
    """Sequences (time, features) of different lengths, one a sample → (batch, p)."""
    if how == "flatten":
        return nn.utils.rnn.pad_sequence(parts, batch_first=True).flatten(1)
    return torch.stack([x.mean(0) if how == "mean" else x[-1] for x in parts])


def _reduced(value: Tensor, how: str, row: str) -> Tensor:
    """(batch, …) → (batch, p)."""
    if value.ndim == 0:
        raise ValueError(f"layer {row!r} must give (batch, …), got a single number")
    if value.ndim <= 2 or how == "flatten":
        return value.reshape(len(value), -1)
    if value.ndim == 3:
        return value.mean(1) if how == "mean" else value[:, -1]
    if how == "mean":
        return value.flatten(2).mean(2)
    raise ValueError(
        f"reduce='last' needs (batch, time, features) from layer {row!r}, got shape "
        f"{tuple(value.shape)}; use 'flatten' or 'mean'"
    )

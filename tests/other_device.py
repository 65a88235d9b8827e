"""A second device on a machine that has none: its tensors live on the processor, but say otherwise.

``with other_device() as device:`` gives a device name for ``.to(device)``, ``device=device`` and so
on. Its tensors compute what the processor computes, to the last digit, and do what an accelerator's
do: an operation with a tensor on the processor raises, and so does ``.numpy()``. What it cannot
show: an accelerator's rounding, speed and memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# PyTorch knows "meta" in every build. Real meta tensors hold no data; ``_call`` refuses them.
NAME = "meta"
aten = torch.ops.aten
# These take an argument from the processor on an accelerator as well: a copy's source, an index.
MIXED = (aten.copy_, aten.index, aten.index_put, aten.index_put_)


class Remote(Tensor):
    """A tensor of the other device; ``inner`` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Remote":
        place = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        kind = {"dtype": inner.dtype, "requires_grad": inner.requires_grad}
        return Tensor._make_wrapper_subclass(cls, inner.shape, device=NAME, **place, **kind)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees the operations that create tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = list(_tensors((*args, *kwargs.values())))
    there = [isinstance(t, Remote) for t in tensors]
    for t, remote in zip(tensors, there, strict=True):
        assert remote or t.device.type == "cpu", f"{func} on a tensor without numbers"
        # a number without dimensions may come from anywhere, as on an accelerator
        if any(there) and not remote and t.ndim and not (there[0] and func.overloadpacket in MIXED):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    result_there = any(there)
    if kwargs.get("device") is not None:
        result_there = torch.device(kwargs["device"]).type == NAME
        kwargs = kwargs | {"device": torch.device("cpu")}
    found = func(*_each(_numbers, args), **{k: _each(_numbers, v) for k, v in kwargs.items()})
    if func._schema.is_mutable:
        return kwargs.get("out", args[0])
    if not result_there:
        return found
    return _each(Remote, found)


def _numbers(t: Tensor) -> Tensor:
    return t.inner if isinstance(t, Remote) else t


def _tensors(value: Any) -> Iterator[Tensor]:
    """Operators take lists of tensors; PyTorch's walk of any tree took most of the tests' time."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _each(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_each(change, part) for part in value)
    return value


@contextmanager
def other_device() -> Iterator[str]:
    # inside these two PyTorch moves the numbers past its dispatcher
    patches = [mock.patch.object(torch, f, _then_moved(f)) for f in ("tensor", "as_tensor")]
    with patches[0], patches[1], _Everywhere():
        yield NAME


def _then_moved(name: str) -> Any:
    create = getattr(torch, name)

    def created(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        made = create(data, **options)
        return made if device is None else made.to(device)

    return created

"""Input checks: each says what was expected, what came, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def came(value: Any) -> str:
    """What came, in a few words."""
    if isinstance(value, Tensor):
        place = "meta " if value.is_meta else "nested " if value.is_nested else ""
        layout = "" if value.layout == torch.strided else f"{value.layout} "
        return f"a {place}{layout}tensor of {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__} of {value.dtype} and shape {value.shape}"
    text = "" if type(value).__repr__ is object.__repr__ else f" {value!r}"
    return type(value).__name__ + (text if len(text) < 80 else "")


def as_tensor(value: Any, name: str) -> Tensor:
    """The numbers of a dense tensor or array, detached, on their device; else a TypeError.

    Arrays in a foreign byte order, read-only or strided backwards are copied.
    """
    if isinstance(value, Tensor):
        empty = value.is_meta and type(value) in (Tensor, torch.nn.Parameter)
        if not (empty or value.is_nested or value.is_quantized or value.layout != torch.strided):
            return value.detach()
    elif type(value) in (np.ndarray, np.memmap) and value.dtype.char in "?bBhilqefdFD":
        native = value.dtype.newbyteorder("=")
        if value.flags.writeable and min(value.strides, default=0) >= 0:
            return torch.from_numpy(np.ascontiguousarray(value, native))
        return torch.from_numpy(np.array(value, native, order="C"))
    raise TypeError(
        f"{name} must be a dense torch tensor or NumPy array of numbers, got {came(value)}; convert"
        f" it first (.to_dense(), .dequantize(), .toarray(), .to_numpy(), .astype(float), …)"
    )


def matrix(value: Any, name: str) -> Tensor:
    """A finite, non-empty, real floating-point matrix (..., m, n)."""
    A = as_tensor(value, name)
    if A.dtype not in (torch.float32, torch.float64):
        remedy = "take its real part" if A.is_complex() else "use .double() or .astype(float)"
        remedy = "too coarse for subspaces, " * A.is_floating_point() + remedy
        raise TypeError(
            f"{name} must hold real floating-point numbers of 4 or 8 bytes, got {A.dtype}; {remedy}"
        )
    if A.ndim < 2:
        raise ValueError(
            f"{name} must be a matrix (..., m, n) with one data point per column, got shape "
            f"{tuple(A.shape)}; a single column is {name}[:, None]"
        )
    if 0 in A.shape[-2:]:  # a batch may be empty
        raise ValueError(f"{name} is empty (shape {tuple(A.shape)}); it needs rows and columns")
    if not torch.isfinite(A).all():
        bad = int((~torch.isfinite(A)).sum())
        raise ValueError(
            f"{name} must be finite, got {bad} NaN or infinite of {A.numel()} entries; "
            f"find them with ~isfinite({name}) and drop those trials or columns"
        )
    return A


def single(value: Any, name: str) -> Tensor:
    """One matrix (m, n), no batch."""
    A = matrix(value, name)
    if A.ndim > 2:
        raise ValueError(f"{name} must be one matrix, got shape {tuple(A.shape)}; take one trial")
    return A


def square(value: Any, name: str) -> Tensor:
    """A finite square matrix (..., n, n)."""
    A = matrix(value, name)
    if A.shape[-1] != A.shape[-2]:
        raise ValueError(
            f"{name} must be square (..., n, n), got shape {tuple(A.shape)}; "
            f"row_projector(X, rank) makes one from a data matrix"
        )
    return A


def matrices(same: str = "columns", **given: Any) -> list[Tensor]:
    """Matrices by name, on one device, with the same points as columns, or of the same "shape"."""
    found = {name: matrix(value, name) for name, value in given.items()}
    (first, A), *others = found.items()
    for name, B in others:
        names = f"{first} and {name}"
        if A.shape[-1] != B.shape[-1]:
            raise ValueError(
                f"{names} must have the same number of columns (data points), got {A.shape[-1]} "
                f"and {B.shape[-1]}; pass the same samples in the same order"
            )
        if same == "shape" and A.shape[-2] != B.shape[-2]:
            raise ValueError(
                f"{names} must have the same shape (..., m, n), got {tuple(A.shape)} and "
                f"{tuple(B.shape)}; their difference is the perturbation"
            )
    together({name: (B, B.shape[:-2]) for name, B in found.items()})
    return [*found.values()]


def together(given: dict[str, tuple[Tensor, torch.Size]]) -> torch.Size:
    """The common leading axes of tensors by name, each with its own; all on one device."""
    names, (tensors, batches) = " and ".join(given), zip(*given.values(), strict=True)
    devices = {str(A.device) for A in tensors}
    if len(devices) > 1:
        raise ValueError(
            f"{names} must be on one device, got {', '.join(devices)}; move one with .to(...)"
        )
    try:
        return torch.broadcast_shapes(*batches)
    except RuntimeError:
        raise ValueError(
            f"{names} must have the same leading axes (trials) or none, got shapes "
            f"{', '.join(str(tuple(A.shape)) for A in tensors)}"
        ) from None


def rank_within(rank: Any, A: Tensor, name: str = "A", what: str = "rank") -> int:
    """An integer in 1..min(m, n)."""
    k = min(A.shape[-2:])
    if not 1 <= integer(rank, what) <= k:
        raise ValueError(
            f"{what} must lie in 1..{k} for {name} of shape {tuple(A.shape)}, got {rank}; "
            f"numerical_rank({name}) suggests one"
        )
    return int(rank)


def label_vector(labels: Any, n: int | None, name: str = "labels") -> np.ndarray:
    """Integer codes 0..K−1 of n cluster labels (shape (n,))."""
    if isinstance(labels, Tensor):
        labels = as_tensor(labels, name).cpu()
        labels = (labels.double() if labels.is_floating_point() else labels).numpy()
    try:
        y = np.asarray(labels)
    except ValueError:  # ragged
        y = np.array(None)
    if y.ndim != 1 or len(y) != (len(y) if n is None else n):
        raise ValueError(
            f"{name} must have shape ({n or 'n'},), one label per column, got {came(labels)}"
        )
    if len(y) == 0:
        raise ValueError(f"{name} is empty; at least one labelled point is needed")
    kind = y.dtype.kind
    if (kind in "fc" and not np.isfinite(y).all()) or (kind in "mM" and np.isnat(y).any()):
        raise ValueError(f"{name} must be finite, got NaN or infinite labels; drop those points")
    try:
        if kind == "O" and any(v is None or v != v for v in y):
            raise TypeError
        return np.unique(y, return_inverse=True)[1].reshape(-1)
    except TypeError:
        raise TypeError(
            f"{name} must be of one kind that can be sorted, without missing values, got "
            f"{came(y)}; drop the points without a label"
        ) from None


def integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {came(value)}")
    return int(value)


def positive_int(value: Any, name: str, least: int = 1) -> int:
    if integer(value, name) < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def several(values: Any, name: str) -> list[Any]:
    """The items of a list, a tuple, a range, an array with one axis, …, in their order."""
    odd = isinstance(values, (str, bytes, Mapping, set, Tensor)) or getattr(values, "ndim", 1) != 1
    if odd or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be several, in a list or a tuple, got {came(values)}")
    return list(values)


def positive_ints(values: Any, name: str, least: int = 1) -> list[int]:
    return [positive_int(v, f"{name}[{i}]", least) for i, v in enumerate(several(values, name))]


def non_negative(value: Any, name: str) -> float:
    """A finite number ≥ 0 of Python, NumPy or torch."""
    alone = isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0
    plain = as_tensor(value, name).item() if alone else value
    if isinstance(plain, bool) or not isinstance(plain, Real):
        raise TypeError(f"{name} must be a number, got {came(value)}")
    if not 0 <= plain <= sys.float_info.max:  # type: ignore[operator]
        raise ValueError(f"{name} must be a finite number ≥ 0, got {value}")
    return float(plain)


def cluster_count(value: Any, n: int, name: str = "n_clusters") -> int:
    """At least one cluster, at most one a point."""
    if positive_int(value, name) > n:
        raise ValueError(f"{name} must be at most the number of points {n}, got {value}")
    return int(value)


def one_of(value: Any, allowed: Sequence[str], name: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {names}, got {value!r}")
    return value


def floating(dtype: Any, name: str = "dtype") -> torch.dtype:
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be torch.float32 or torch.float64, got {came(dtype)}")
    return dtype


def room(numbers: float, name: str, device: torch.device | str = "cpu") -> None:
    """ValueError where so many numbers of 8 bytes are more than the memory there is."""
    if torch.device(device).type == "cuda":
        memory = torch.cuda.mem_get_info(device)[1]
    elif hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        return
    if 8 * numbers > memory:
        raise ValueError(
            f"{name} is too large: {8 * numbers / 2**30:.3g} GiB are needed, more than the "
            f"{memory / 2**30:.3g} there are; take fewer"
        )


def numpy_in_numpy_out(function: F) -> F:
    """Array arguments give array results; one tensor among the arguments gives tensors."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values = [*args, *kwargs.values()]
        arrays = any(isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in values)
        result = function(*args, **kwargs)
        if arrays and not any(isinstance(v, Tensor) for v in values):
            return _to_numpy(result)
        return result

    return wrapped  # type: ignore[return-value]


def _to_numpy(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach().cpu().numpy()
    if isinstance(result, tuple):
        return tuple(_to_numpy(part) for part in result)
    return result

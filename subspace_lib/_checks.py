"""Input checks: each says what was expected, what came, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def as_tensor(value: Any, name: str) -> Tensor:
    """A tensor or array as a tensor on its own device; anything else is a TypeError."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    kind = type(value).__name__
    raise TypeError(f"{name} must be a torch tensor or a NumPy array, got {kind}; convert it first")


def matrix(value: Any, name: str) -> Tensor:
    """A finite, non-empty, real floating-point matrix (..., m, n)."""
    A = as_tensor(value, name)
    if not A.is_floating_point():
        raise TypeError(
            f"{name} must hold real floating-point numbers, got {A.dtype}; use {name}.double() "
            f"(tensor) or {name}.astype(float) (array)"
        )
    if A.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(f"{name} is {A.dtype}, too coarse for subspaces; use {name}.double()")
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


def square(value: Any, name: str) -> Tensor:
    """A finite square matrix (..., n, n)."""
    A = matrix(value, name)
    if A.shape[-1] != A.shape[-2]:
        raise ValueError(
            f"{name} must be square (..., n, n), got shape {tuple(A.shape)}; "
            f"row_projector(X, rank) makes one from a data matrix"
        )
    return A


def rank_within(rank: Any, A: Tensor, name: str = "A", what: str = "rank") -> int:
    """An integer in 1..min(m, n)."""
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)):
        raise TypeError(f"{what} must be an integer, got {type(rank).__name__} {rank!r}")
    k = min(A.shape[-2:])
    if not 1 <= rank <= k:
        raise ValueError(
            f"{what} must lie in 1..{k} for {name} of shape {tuple(A.shape)}, got {rank}; "
            f"numerical_rank({name}) suggests one"
        )
    return int(rank)


def same_columns(A: Tensor, B: Tensor, names: tuple[str, str] = ("A", "B")) -> None:
    """Row spaces can be compared only inside the same R^n."""
    if A.shape[-1] != B.shape[-1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of columns (data points), got "
            f"{A.shape[-1]} and {B.shape[-1]}; pass the same samples in the same order"
        )
    if A.device != B.device:
        raise ValueError(
            f"{names[0]} and {names[1]} must be on one device, got {A.device} and {B.device}; "
            f"move one with .to(...)"
        )


def same_shape(A: Tensor, B: Tensor, names: tuple[str, str] = ("A", "B")) -> None:
    if A.shape[-2:] != B.shape[-2:]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same shape (..., m, n), got "
            f"{tuple(A.shape)} and {tuple(B.shape)}; their difference is the perturbation"
        )


def label_vector(labels: Any, n: int, name: str = "labels") -> np.ndarray:
    """Integer codes 0..K−1 of n cluster labels (shape (n,))."""
    y = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if y.ndim != 1 or len(y) != n:
        raise ValueError(
            f"{name} must have shape ({n},), one label per column, got shape {y.shape}"
        )
    if n == 0:
        raise ValueError(f"{name} is empty; at least one labelled point is needed")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite labels; drop those points")
    return np.unique(y, return_inverse=True)[1].reshape(-1)


def positive_int(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def non_negative(value: Any, name: str) -> float:
    number = float(value)
    if not np.isfinite(number) or number < 0:
        raise ValueError(f"{name} must be a finite number ≥ 0, got {value}")
    return number


def one_of(value: Any, allowed: Sequence[str], name: str) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def floating(dtype: torch.dtype, name: str = "dtype") -> torch.dtype:
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be torch.float32 or torch.float64, got {dtype}")
    return dtype


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

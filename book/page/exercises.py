"""Checks for exercises: they say what is wrong, and never stop the notebook."""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, repr=False)
class Outcome:
    """The result of one check; true when the answer passed."""

    exercise: str
    passed: bool
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} Exercise {self.exercise}: {self.message}"

    def _repr_html_(self) -> str:
        kind = "passed" if self.passed else "open"
        return f'<p class="exercise-outcome {kind}">{html.escape(repr(self))}</p>'


def check(exercise: str, verify: Callable[[], Any]) -> Outcome:
    """Run ``verify`` and report. It raises AssertionError with a reason when the answer is wrong.

    A stub that raises NotImplementedError is "not answered yet"; any other exception is reported
    with its type and line. The last line of a cell displays the outcome.
    """
    try:
        verify()
    except NotImplementedError:
        return Outcome(exercise, False, "not answered yet. Replace the `raise` by your solution.")
    except AssertionError as error:
        return Outcome(exercise, False, str(error) or f"this does not hold: {_last_line(error)}")
    except Exception as error:  # a learner's code may fail in any way; all of it is reported
        kind = type(error).__name__
        return Outcome(
            exercise, False, f"your code raised {kind}: {error} (at: {_last_line(error)})"
        )
    return Outcome(exercise, True, "right.")


def close(
    actual: Any, expected: Any, *, name: str = "the result", rtol: float = 1e-6, atol: float = 1e-9
) -> None:
    """AssertionError that says how ``actual`` misses ``expected``: shape, transpose, factor."""
    if actual is None:
        raise AssertionError(f"{name} is None; does the function end with `return`?")
    a, b = _array(actual), _array(expected)
    if a.shape != b.shape:
        hint = "; is it transposed?" if a.shape == b.T.shape else ""
        raise AssertionError(f"{name} has shape {a.shape}, expected {b.shape}{hint}")
    if np.allclose(a, b, rtol=rtol, atol=atol):
        return
    if a.ndim == 2 and np.allclose(a.T, b, rtol=rtol, atol=atol):
        raise AssertionError(f"{name} is the transpose of what was asked")
    norm = float(np.linalg.norm(b))
    factor = float((a * b).sum() / norm**2) if norm > 0 else 0.0
    if factor and np.allclose(a, factor * b, rtol=rtol, atol=atol):
        raise AssertionError(f"{name} is {factor:.4g} times what was asked")
    raise AssertionError(f"{name} is off by up to {float(np.abs(a - b).max()):.3g}")


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
    return np.asarray(value, dtype=float)


def _last_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or f"line {frames[-1].lineno}") if frames else "an unknown line"

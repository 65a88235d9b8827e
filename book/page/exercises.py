"""Checks for exercises: they say what is wrong, and never stop the notebook."""

from __future__ import annotations

import csv
import html
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from page.course import worth

START = Path.cwd()  # where a relative path counts from, wherever a cell goes later


@dataclass(frozen=True, repr=False)
class Outcome:
    """The result of one check; true when the answer passed."""

    exercise: str
    passed: bool
    message: str
    worth: int = 1

    @property
    def points(self) -> int:
        """All of its points or none."""
        return self.worth if self.passed else 0

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        sign, of = "✓" if self.passed else "✗", "point" if self.worth == 1 else "points"
        said = f"{sign} Exercise {self.exercise}: {self.message}"
        return f"{said} ({self.points} of {self.worth} {of})"

    def _repr_html_(self) -> str:
        kind = "passed" if self.passed else "open"
        return f'<p class="exercise-outcome {kind}">{html.escape(repr(self))}</p>'


def check(exercise: str, verify: Callable[[], Any]) -> Outcome:
    """Run ``verify`` and report. It raises AssertionError with a reason when the answer is wrong.

    A stub that raises NotImplementedError is "not answered yet"; any other exception is reported
    with its type and line. The last line of a cell displays the outcome. Its points are the
    exercise's level; a file that the environment variable ``BOOK_SCORES`` names has them as well.
    """
    reason = _fault(verify)
    outcome = _outcomes[exercise] = Outcome(
        exercise, not reason, reason or "right", worth(exercise)
    )
    if path := os.environ.get("BOOK_SCORES"):
        try:
            scores(path)
        except OSError as error:
            print(f"no points in {path} ({error.strerror or error}): name another file")
    return outcome


def _fault(verify: Callable[[], Any]) -> str:
    """Why the answer is not accepted; "" where it is."""
    try:
        verify()
    except NotImplementedError:
        return "not answered yet; put your solution in the place of `raise`"
    except AssertionError as error:
        return str(error) or f"this does not hold: {_last_line(error)}"
    except Exception as error:  # a learner's code may fail in any way; all of it is reported
        return f"your code raised {type(error).__name__}: {error} (at: {_last_line(error)})"
    return ""


_outcomes: dict[str, Outcome] = {}


def scores(path: str | Path | None = None) -> list[dict[str, Any]]:
    """The last outcome of each exercise checked so far; written to ``path`` as CSV if given."""
    rows = [
        {"exercise": one.exercise, "points": one.points, "of": one.worth, "said": one.message}
        for one in _outcomes.values()
    ]
    if path is not None:
        path = START / Path(path).expanduser()
        part = path.with_name(path.name + ".part")
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, ("exercise", "points", "of", "said"))
                writer.writeheader()
                writer.writerows(rows)
            part.replace(path)  # whole or not at all
        finally:
            part.unlink(missing_ok=True)
    return rows


def expect(answer: Any, right: Any, hint: str | Mapping[Any, str], *, atol: float = 0.0) -> None:
    """AssertionError with a hint unless ``answer`` is ``right``, for numbers within ``atol``.

    hint: one for every wrong answer, or wrong answer → hint, None → the hint for all others.
    """
    if answer is None:
        raise AssertionError("the answer is None; does the function end with `return`?")
    if _same(answer, right, atol):
        return
    if isinstance(hint, str):
        raise AssertionError(hint)
    for wrong, text in hint.items():
        if wrong is not None and _same(answer, wrong, atol):
            raise AssertionError(text)
    raise AssertionError(hint.get(None, "this is not what happens"))


def _same(answer: Any, right: Any, atol: float) -> bool:
    if isinstance(right, (bool, str, set, frozenset)):
        return bool(answer == right)
    if isinstance(right, (tuple, list)):
        sized = hasattr(answer, "__len__") and len(answer) == len(right)
        return sized and all(_same(a, b, atol) for a, b in zip(answer, right, strict=True))
    try:
        return bool(abs(float(answer) - float(right)) <= max(atol, 1e-9 * abs(float(right))))
    except (TypeError, ValueError):
        return False


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

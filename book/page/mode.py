"""Quick or full, processor or GPU: what a chapter runs with, and says."""

import os
from typing import TypeVar

T = TypeVar("T")
_MODES = ("quick", "full")


def book_mode() -> str:
    """ "quick" (the default) or "full", from the environment variable ``BOOK_MODE``."""
    mode = os.environ.get("BOOK_MODE", "quick")
    if mode not in _MODES:
        raise ValueError(f"BOOK_MODE must be one of {_MODES}, got {mode!r}; unset it for 'quick'")
    return mode


def by_mode(*, quick: T, full: T) -> T:
    """The value that belongs to the present mode: ``trials = by_mode(quick=20, full=100)``."""
    return quick if book_mode() == "quick" else full


def device() -> str:
    """Where a page trains its networks: "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def mode_note(**sizes: object) -> str:
    """One line for under a figure: ``mode_note(trials=20)`` → "quick mode: trials 20"."""
    listed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sizes.items())
    return f"{book_mode()} mode: {listed}" if listed else f"{book_mode()} mode"

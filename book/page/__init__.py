"""What a page of the book needs: figures, controls, tables, exercises, rendered docstrings."""

from importlib import import_module
from typing import Any

from page.docstrings import example, reference
from page.exercises import check, close, expect, scores
from page.figures import begin, show, use_style
from page.mode import book_mode, by_mode, device, mode_note
from page.sliders import explore
from page.tables import table, written

__all__ = [
    "begin",
    "book_mode",
    "by_mode",
    "check",
    "close",
    "device",
    "example",
    "expect",
    "explore",
    "mode_note",
    "plot_chain",
    "plot_margins",
    "plot_names",
    "plot_points_3d",
    "plot_projector_sines",
    "plot_sines",
    "plot_sorted",
    "plot_threshold_graph",
    "reference",
    "scores",
    "show",
    "table",
    "use_style",
    "written",
]


def __getattr__(name: str) -> Any:
    """Drawings bring matplotlib and the library: imported when the first is asked for."""
    if name.startswith("plot_"):
        return getattr(import_module("page.drawings"), name)
    raise AttributeError(f"module 'page' has no attribute {name!r}")

"""What a page of the book needs: figures, sliders, exercises, two modes, rendered docstrings."""

from page.docstrings import example, reference
from page.exercises import check, close
from page.figures import begin, show, use_style
from page.mode import book_mode, by_mode, mode_note
from page.sliders import explore

__all__ = [
    "begin",
    "book_mode",
    "by_mode",
    "check",
    "close",
    "example",
    "explore",
    "mode_note",
    "reference",
    "show",
    "use_style",
]

"""What a page of the book needs: figures with a text, sliders, exercises, the two modes."""

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
    "explore",
    "mode_note",
    "show",
    "use_style",
]

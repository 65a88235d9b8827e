"""The stored run of the checkers as a table."""

from __future__ import annotations

import html
from typing import Any

import numpy as np


def statement_table(run: Any) -> Any:
    """The stored run of the statement checkers as a table."""
    from IPython.display import HTML

    names = ("statement", "instances", "violations", "largest left/right", "extremal", "controls")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    body = "".join(_statement_row(run, i) for i in range(len(run.settings)))
    # a table that scrolls sideways must take the keyboard's focus
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    note = f"<p>{html.escape(run.note())}</p>"
    return HTML(f"<table class='statements' tabindex='0'>{table}</table>{note}")


def _statement_row(run: Any, i: int) -> str:
    extremal = float(run["extremal"][i])
    cells = (
        run.settings[i]["statement"],
        f"{int(run['instances'][i]):,}",
        str(int(run["violations"][i])),
        f"{float(run['tightest'][i]):.3f}",
        "–" if np.isnan(extremal) else f"{extremal:.4f}",
        f"{int(run['broken'][i])} of {int(run['controls'][i])} broken",
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"

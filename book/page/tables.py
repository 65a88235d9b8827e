"""Tables as tables: aligned numbers, the best cell, colours by value, order by a click."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.display import HTML

LONG = 8  # rows from which on the heads sort
WIDE = 7  # columns from which on letters are smaller
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
HEAT = "0, 158, 115"  # the ground of the largest value, the network's green


def table(
    rows: Sequence[Mapping[str, Any]],
    *,
    caption: str = "",
    fmt: Mapping[str, str] | str = "{:.3g}",
    best: Mapping[str, str] | None = None,
    heat: bool | Collection[str] = (),
    marks: Mapping[str, Callable[[Any], str | None]] | None = None,
) -> HTML:
    """A table of dicts with the same keys, the heads of its columns; last line of a cell.

    fmt: how numbers are written, one format or one per column; text stays as it is, None and NaN
    are dashes. best: "min" or "max" of a column is bold. heat: columns (True: all) whose ground is
    the darker the larger the number is, on one scale. marks: per column, a function of a value that
    answers "good", "fail" or None. Heads, text and the caption may hold formulas between dollars.
    Raises ValueError for no rows, for unequal keys and for a column that is not there.
    """
    from IPython.display import HTML

    if not rows:
        raise ValueError("table needs at least one row")
    heads = list(rows[0])
    if any(list(row) != heads for row in rows):
        raise ValueError(f"every row needs the same columns, {heads}")
    best, marks = best or {}, marks or {}
    warm = heads if heat is True else list(heat or ())
    named = [*best, *marks, *warm, *(fmt if isinstance(fmt, Mapping) else ())]
    if unknown := [name for name in named if name not in heads]:
        raise ValueError(f"unknown column {unknown[0]!r}; there are {heads}")
    formats = {h: fmt if isinstance(fmt, str) else fmt.get(h, "{:.3g}") for h in heads}
    numeric = {h for h in heads if any(map(_number, (row[h] for row in rows)))}
    pick = {"min": min, "max": max}
    tops = {h: pick[k](v for row in rows if _number(v := row[h])) for h, k in best.items()}
    sizes = [float(row[h]) for row in rows for h in warm if _number(row[h])]
    low, high = (min(sizes), max(sizes)) if sizes else (0.0, 1.0)

    def cell(head: str, value: Any) -> str:
        kinds = ["n"] if head in numeric else []
        kinds += ["best"] if head in tops and value == tops[head] else []
        kinds += [kind] if head in marks and (kind := marks[head](value)) else []
        look = f' class="{" ".join(kinds)}"' if kinds else ""
        if head in warm and _number(value) and high > low:
            share = (float(value) - low) / (high - low)
            look += f' style="background:rgba({HEAT}, {0.45 * share:.2f})"'
        if _number(value):
            look += f' data-value="{float(value):.12g}"'
        return f"<td{look}>{_written(value, formats[head])}</td>"

    body = "".join(f"<tr>{''.join(cell(h, row[h]) for h in heads)}</tr>" for row in rows)
    top = "".join(
        f'<th scope="col"{" class=n" if h in numeric else ""}{_name(h)}>{_formulas(h)}</th>'
        for h in heads
    )
    kind = "data sortable" if len(rows) > LONG else "data"
    kind += " wide" if len(heads) > WIDE else ""
    said = f"<caption><span>{_formulas(caption)}</span></caption>" if caption else ""
    return HTML(
        f'<div class="table"><table class="{kind} mathjax_process">{said}<thead><tr>{top}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _number(value: Any) -> bool:
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and not math.isnan(float(value))


def written(value: float, fmt: str = "{:.3g}") -> str:
    """A number as a reader meets it: "−1.3", "2.4·10⁻⁴", "∞"."""
    text = "∞" if value == math.inf else "-∞" if value == -math.inf else fmt.format(value)
    text = re.sub(r"e([+-]\d+)", lambda found: f"·10{str(int(found[1])).translate(RAISED)}", text)
    return text.replace("-", "−")


def _written(value: Any, fmt: str) -> str:
    if _number(value):
        return written(value, fmt)
    if value is None or (isinstance(value, Real) and not isinstance(value, bool)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _formulas(str(value))


def _name(head: str) -> str:
    """What is read aloud for a head that is a formula: a drawn formula has no name of its own."""
    said = re.sub(r"[\\${}]", "", head)
    return f' data-name="{html.escape(said)}"' if said != head else ""


def _formulas(text: str) -> str:
    return re.sub(r"\$(.+?)\$", r"\\(\1\\)", html.escape(text))

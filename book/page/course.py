"""The book as a course: exercises with level, minutes and kind, the time of a chapter, plans.

Everything is read from the notebooks: below the heading of an exercise stands a line such as
``★★ · 10 min · by hand``, at the head of a chapter its time in words, and a plan is a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("code", "by hand", "predict, then run", "small proof", "read a figure")
MARK = re.compile(rf"^(★{{1,3}}) · (\d+) min · ({'|'.join(KINDS)})$", re.M)
TITLE = re.compile(r"^### Exercise (\w+\.\d+) \((.*)\)$", re.M)
CHAPTER = re.compile(r"\d\d_\w+")
HOURS = {  # the words in which a chapter says its time
    "two hours and a half": 150,
    "two hours": 120,
    "one hour and three quarters": 105,
    "an hour and three quarters": 105,
    "an hour and a half": 90,
    "one hour and a half": 90,
    "an hour and a quarter": 75,
    "one hour and a quarter": 75,
    "three quarters of an hour": 45,
    "half an hour": 30,
    "a quarter of an hour": 15,
    "an hour": 60,
    "one hour": 60,
}
TIME = re.compile("|".join(HOURS), re.I)
# minutes for one of each: words as they are read aloud (doi:10.1016/j.jml.2019.104047, 77 studies);
# the others are assumed, for a student with a pencil; no class was timed
PACE = {"word": 1 / 183, "formula": 0.08, "display": 1.0, "figure": 0.75, "cell": 0.5}
SHARES = {"": 1.0, "half of ": 1 / 2, "a third of ": 1 / 3, "a quarter of ": 1 / 4}
READ = re.compile(r"(half of |a third of |a quarter of |)[Cc]hapter (\d+)")


@dataclass(frozen=True)
class Exercise:
    """Statement with hint, stub, check and solution; ``code`` is the solution's."""

    path: Path
    number: str
    title: str
    statement: str
    stub: str
    check: str
    solution: str

    @property
    def mark(self) -> tuple[str, str, str]:
        """Level, minutes, kind. Raises ValueError when the line is missing or misspelt."""
        if (found := MARK.search(self.statement)) is None:
            raise ValueError(
                f"exercise {self.number} needs a line such as '★★ · 10 min · by hand' below its "
                f"heading, with one of the kinds {', '.join(KINDS)}"
            )
        return found[1], found[2], found[3]

    @property
    def level(self) -> int:
        return len(self.mark[0])

    @property
    def minutes(self) -> int:
        return int(self.mark[1])

    @property
    def kind(self) -> str:
        return self.mark[2]

    @property
    def code(self) -> str:
        """What stands in the solution's fence, to be run in the stub's place."""
        found = re.search(r"```python\n(.*?)```", self.solution, re.S)
        return found[1] if found else ""


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook; each source is one text."""
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    for cell in found:
        cell["source"] = "".join(cell["source"])
        cell["tags"] = cell["metadata"].get("tags", [])
    return found


def exercises(path: Path) -> list[Exercise]:
    """All exercises of a notebook, in order; a statement begins with its heading."""
    notebook, found = cells(path), []
    for i, cell in enumerate(notebook):
        if "exercise-stub" not in cell["tags"]:
            continue
        before, check, solution = (notebook[j]["source"] for j in (i - 1, i + 1, i + 2))
        title = list(TITLE.finditer(before))[-1]
        parts = (before[title.start() :], cell["source"], check, solution)
        found.append(Exercise(path, title[1], title[2], *parts))
    return found


@dataclass(frozen=True)
class Chapter:
    """A chapter as a course needs it."""

    number: int
    path: Path

    @cached_property
    def text(self) -> str:
        """Its Markdown."""
        return "\n\n".join(c["source"] for c in cells(self.path) if c["cell_type"] == "markdown")

    @cached_property
    def title(self) -> str:
        return self.text.splitlines()[0].removeprefix("# ")

    @cached_property
    def exercises(self) -> list[Exercise]:
        return exercises(self.path)

    def said(self, word: str) -> str:
        """What stands at the head after "**Goals.**" and the like, to the end of the paragraph."""
        found = re.search(rf"\*\*{word}\.\*\* (.*?)(?= \*\*\w+\.\*\* |\n\n)", self.text, re.S)
        return found[1].replace("\n", " ") if found else ""

    @cached_property
    def reading(self) -> int:
        """Minutes for text and proofs, as its head says. Raises ValueError when it does not."""
        if (found := TIME.search(self.said("Time"))) is None:
            raise ValueError(f"{self.path.name} does not say its time in words that {HOURS} has")
        return HOURS[found[0].lower()]

    @cached_property
    def counted(self) -> float:
        """Minutes at PACE for what a reader meets before the exercises' answers and references."""
        text, figures, code = "", 0, 0
        for cell in cells(self.path):
            if cell["cell_type"] == "markdown" and "solution" not in cell["tags"]:
                text += re.split(r"^(?:### Exercise|## References)", cell["source"], flags=re.M)[0]
            elif cell["cell_type"] == "code":
                figures += "show(" in cell["source"] or "explore(" in cell["source"]
                code += not cell["tags"]
        displays = re.findall(r"\$\$.*?\$\$", text, re.S)
        text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
        words, formulas = re.sub(r"\$[^$]+\$", "", text), re.findall(r"\$[^$]+\$", text)
        found = {"word": len(re.findall(r"[^\W\d_]{2,}", words)), "formula": len(formulas)}
        found |= {"display": len(displays), "figure": figures, "cell": code}
        return sum(PACE[kind] * number for kind, number in found.items())

    @cached_property
    def practice(self) -> int:
        """Minutes for all its exercises."""
        return sum(exercise.minutes for exercise in self.exercises)


@cache
def chapters() -> dict[int, Chapter]:
    """Number → chapter, in the order of the table of contents."""
    names = re.findall(r"file:\s*(\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
    paths = [ROOT / f"{name}.ipynb" for name in names if CHAPTER.fullmatch(Path(name).name)]
    return {k: Chapter(k, path) for k, path in enumerate(paths, start=1)}


def worth(number: str) -> int:
    """The points of an exercise, its level; 1 where nobody knows it."""
    chapter = number.partition(".")[0]
    known = chapters().get(int(chapter)) if chapter.isdigit() else None
    found = [e for e in known.exercises if e.number == number] if known else []
    return found[0].level if found else 1


def plan(heading: str, notebook: str = "teaching") -> list[dict[str, Any]]:
    """The table below ``## heading`` with the minutes of what each session names.

    Its second column names chapters, whole or in part ("chapter 2, half of chapter 3"); of a part
    the same share of the minutes counts.
    """
    text = Chapter(0, ROOT / f"book/{notebook}.ipynb").text
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows: list[dict[str, Any]] = []
    for line in re.findall(r"^\| *(\d[^|]*)\|(.*)$", section, re.M):
        named = list(_named(line[1].split("|")[0]))
        numbers = dict.fromkeys(str(k) for k, _ in named)
        row = {"session": line[0].strip(), "chapters": ", ".join(numbers)}
        row["text"] = round(sum(share * chapters()[k].reading for k, share in named))
        row["exercises"] = round(sum(share * chapters()[k].practice for k, share in named))
        last = line[1].rstrip(" |").rpartition("|")[2].strip()
        rows.append(row | {"parts": named, "leave out": last})
    return rows


def minutes(heading: str) -> list[dict[str, Any]]:
    """A plan as its table on the page."""
    shown = ("session", "chapters", "text", "exercises")
    return [{key: row[key] for key in shown} for row in plan(heading)]


def _named(words: str) -> Iterator[tuple[int, float]]:
    for share, number in READ.findall(words):
        yield int(number), SHARES[share]

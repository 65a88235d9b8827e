"""``make assignments``: the exercises as an nbgrader course, an assignment for each chapter.

A cell to answer in, with the stub and, between nbgrader's marks, the solution; a locked cell that
checks it for as many points as the exercise has stars. What nbgrader shows of a wrong answer is the
check's message. Kernels run in the book's environment, nbgrader in one of its own.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from environment import ROOT
from notebooks import KERNEL
from page import course

COURSE = ROOT / "_build/course"
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "subspaces"
c.ClearSolutions.code_stub = {"python": "# your answer goes into the function above"}
c.ExecutePreprocessor.timeout = 300
"""


def marked(cell: Any, name: str, points: int = 0) -> Any:
    """nbgrader's note: a cell to answer in, or with ``points`` a locked one that is graded."""
    note = {"grade_id": name, "grade": points > 0, "solution": points == 0, "locked": points > 0}
    note |= {"task": False, "schema_version": 3} | ({"points": points} if points else {})
    cell.metadata["nbgrader"] = note
    return cell


def asked(exercise: course.Exercise) -> list[Any]:
    """Statement, answer, check. The check raises, with its message, where the answer is wrong."""
    name = exercise.number.replace(".", "-")
    stub = exercise.stub.rstrip()
    answer = f"{stub}\n\n\n### BEGIN SOLUTION\n{exercise.code.rstrip()}\n### END SOLUTION"
    body, last = exercise.check.rstrip().rsplit("\n", 1)
    check = f"{body}\noutcome = {last}\nassert outcome, outcome.message"
    return [
        new_markdown_cell(exercise.statement),
        marked(new_code_cell(answer), f"answer-{name}"),
        marked(new_code_cell(check), f"check-{name}", exercise.level),
    ]


def assignment(chapter: course.Chapter) -> Any:
    """The chapter's set-up and imports, then its exercises."""
    first = nbformat.read(chapter.path, 4).cells
    tags = ("setup", "imports")
    begin = [copy.deepcopy(c) for c in first if set(tags) & set(c.metadata.get("tags", []))]
    title = new_markdown_cell(f"# {chapter.number}. {chapter.title}: exercises")
    cells = [title, *begin, *(cell for e in chapter.exercises for cell in asked(e))]
    for k, cell in enumerate(cells):
        cell["id"] = f"cell-{k}"
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def kernel(folder: Path) -> None:
    """The book's kernel under the name that the notebooks ask for; JUPYTER_PATH leads to it."""
    spec = folder / "jupyter/kernels/python3"
    spec.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = {"argv": command, "display_name": KERNEL["display_name"], "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(text), encoding="utf-8")


def main(folder: Path = COURSE) -> None:
    shutil.rmtree(folder / "source", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    kernel(folder)
    for chapter in course.chapters().values():
        place = folder / "source" / f"chapter-{chapter.number:02d}"
        place.mkdir(parents=True)
        nbformat.write(assignment(chapter), place / chapter.path.name)
    print(f"Assignments: {folder / 'source'} (nbgrader runs in {folder})")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""An assignment from beginning to end, with nbgrader: ``make grader`` runs this in its environment.

Three students: one hands in the stubs, one the solutions, one solutions but for a plausible wrong
answer. The first gets nothing, the second all points, the third the rest and a hint.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

NAME, WRONG = "chapter-02", "2-6"
ANSWER = "def not_zero():\n    return {(1, 2), (3, 4), (4, 5)}\n"
HINT = "orthogonal points can have an entry"


def nbgrader(course, *words):
    place = Path(sys.executable).parent
    env = os.environ | {"JUPYTER_PATH": str(course / "jupyter"), "OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{place}{os.pathsep}{env['PATH']}"  # nbgrader calls alembic
    command = [str(place / "nbgrader"), *words]
    done = subprocess.run(command, cwd=course, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def handed_in(course, student, answers):
    """The released notebook with ``answers``, grade_id → code, in place of its answer cells."""
    release = next((course / "release" / NAME).glob("*.ipynb"))
    nb = nbformat.read(release, 4)
    assert "BEGIN SOLUTION" not in release.read_text("utf-8")
    for cell in nb.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if name in answers:
            cell.source = answers[name]
    place = course / "submitted" / student / NAME
    place.mkdir(parents=True)
    nbformat.write(nb, place / release.name)


def main(course):
    for folder in ("release", "submitted", "autograded", "feedback", "gradebook.db"):
        path = course / folder
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    nbgrader(course, "generate_assignment", NAME)
    source = nbformat.read(next((course / "source" / NAME).glob("*.ipynb")), 4)
    right = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    students = {"stub": {}, "right": right, "nearly": right | {f"answer-{WRONG}": ANSWER}}
    for student, answers in students.items():
        handed_in(course, student, answers)
    nbgrader(course, "autograde", NAME)
    nbgrader(course, "generate_feedback", NAME)
    nbgrader(course, "export", "--to", "grades.csv")
    with (course / "grades.csv").open() as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    score = {name: float(row["score"] or 0) for name, row in rows.items()}
    most = float(rows["right"]["max_score"])
    lost = next(
        c
        for c in source.cells
        if c.metadata.get("nbgrader", {}).get("points") and WRONG in c.metadata.nbgrader.grade_id
    )
    print(f"{score}, {most:g} points in all")
    assert score["stub"] == 0
    assert score["right"] == most > 0
    assert score["nearly"] == most - lost.metadata.nbgrader.points
    page = next((course / "feedback/nearly" / NAME).glob("*.html")).read_text("utf-8")
    assert HINT in re.sub(r"\s+", " ", page)
    print("Stubs get nothing, solutions everything, and a wrong answer its hint.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

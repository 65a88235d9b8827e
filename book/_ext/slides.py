"""``make slides``: a deck for each lecture of the plans on the teachers' page, from the chapters.

A chapter gives its question, its answer, its statements and its figures, and an exercise to
predict for the class; what the plan leaves out is left out. Speaker notes are what the chapter
says after a figure or as a proof, and the exercise's solution. The decks need no network; with
``?print-pdf`` in the address they print.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from environment import ROOT, cache_path
from page import course

LECTURES = ("One lecture", "Short course")
REVEAL = "sphinx-revealjs==3.2.1"  # the wheel that carries reveal.js
BOX = re.compile(r"^### ((?!Exercise)(\w+) (\d+\.\d+)[^\n]*)\n\n((?:>[^\n]*\n?)+)", re.M)
LEAVE = re.compile(r"(?:\w+s? )(\d+\.\d+)(?: to (\d+\.\d+))?(?: and (\d+\.\d+))?")
NOTE = 900  # letters of a note, about a minute's speech
PER_SLIDE = 2.5  # minutes


def slide(cell: Any, kind: str) -> Any:
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def say(text: str) -> Any:
    """A note for the speaker, cut at the end of a sentence."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.S).strip()
    if len(text) > NOTE:
        text = text[:NOTE].rpartition(". ")[0] + ". …"
    return slide(new_markdown_cell(text or "See the chapter."), "notes")


def opening(chapter: course.Chapter) -> list[Any]:
    """Title and question; the answer and the goals are for the speaker."""
    first = course.cells(chapter.path)[0]["source"]
    question = re.findall(r"\*\*[^*]+\?\*\*", chapter.text)
    head = f"# {chapter.number}. {chapter.title}\n\n{question[0] if question else ''}"
    note = f"Goals: {chapter.said('Goals')}\n\n{first.partition(chr(10))[2].strip()}"
    return [slide(new_markdown_cell(head), "slide"), say(note)]


def closing(chapter: course.Chapter) -> list[Any]:
    """A prediction for the class, and the answer in brief."""
    found = [e for e in chapter.exercises if e.kind == "predict, then run"]
    out = []
    for exercise in found[:1]:
        asked = re.sub(r"<details>.*?</details>", "", exercise.statement, flags=re.S)
        answer = re.search(r"</summary>(.*?)(?:```|</details>)", exercise.solution, re.S)
        out += [slide(new_markdown_cell(asked.strip()), "slide"), say(answer[1] if answer else "")]
    brief = re.search(r"\*\*Answer in brief\.\*\* ([^\n]*)", chapter.text)
    text = f"### {chapter.title}: the answer in brief\n\n{brief[1] if brief else ''}"
    return [*out, slide(new_markdown_cell(text), "slide"), say(f"Time: {chapter.said('Time')}")]


def body(executed: Any) -> Iterator[tuple[str, list[Any]]]:
    """Statements and figures of a chapter with their notes; the statement's number, or ""."""
    cells = executed.cells
    for i, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            text = cell.source.partition("## Exercises")[0]
            for box in BOX.finditer(text):
                proof = re.match(r"\n*\*\*Proof\.\*\*.*?(?=\n#|\Z)", text[box.end() :], re.S)
                shown = new_markdown_cell(f"### {box[1]}\n\n{box[4]}")
                note = proof[0] if proof else text[box.end() :].strip().partition("\n\n")[0]
                yield box[3], [slide(shown, "slide"), say(note.partition("\n#")[0])]
        elif "page.show(" in cell.source and any("data" in o for o in cell.outputs):
            after = cells[i + 1].source if i + 1 < len(cells) else ""
            note = "" if after.startswith("#") else after.partition("\n\n")[0]
            picture = nbformat.from_dict(cell)
            picture.metadata = {"tags": ["figure"]}
            picture.outputs = [o for o in cell.outputs if "data" in o]
            yield "", [slide(picture, "slide"), say(note)]


def left_out(words: str) -> set[str]:
    """The numbers of the statements that a plan leaves out; "8.5 to 8.7" is all three."""
    found: set[str] = set()
    for first, last, other in LEAVE.findall(words):
        chapter, begin = first.split(".")
        end = last.partition(".")[2] or begin
        found |= {f"{chapter}.{k}" for k in range(int(begin), int(end) + 1)} | {other}
    return found - {""}


def executed(path: Path) -> Any:
    """The notebook with the outputs that the build stored."""
    notebook = nbformat.read(path, 4)
    try:
        _, done = get_cache(cache_path()).merge_match_into_notebook(notebook)
    except KeyError:
        raise SystemExit(f"{path.name} has not been executed yet: run `make book` first.") from None
    return done


def deck(parts: list[tuple[course.Chapter, float, Any]], skip: set[str], minutes: int) -> Any:
    """One lecture: of each chapter its share, in all as many slides as the minutes allow."""
    room = minutes / PER_SLIDE - 3 * len(parts)
    total = sum(share * chapter.reading for chapter, share, _ in parts)
    cells: list[Any] = []
    for chapter, share, notebook in parts:
        pairs = [pair for number, pair in body(notebook) if number not in skip]
        pairs = pairs[: max(1, round(share * len(pairs)))]
        most = max(2, int(room * share * chapter.reading / total))
        keep = {round(k * (len(pairs) - 1) / (most - 1)) for k in range(most)}
        shown = [cell for k, pair in enumerate(pairs) if k in keep for cell in pair]
        cells += [*opening(chapter), *shown, *closing(chapter)]
    return new_notebook(cells=cells)


def rendered(notebook: Any, title: str) -> str:
    notebook.metadata["title"] = title
    exporter = SlidesExporter(
        extra_template_basedirs=[str(Path(__file__).parent)],
        template_name="deck",
        reveal_url_prefix="reveal",
        reveal_theme="white",
        exclude_input=True,
        embed_images=False,
    )
    page: str = exporter.from_notebook_node(notebook)[0]
    return page


def furniture(folder: Path) -> None:
    """reveal.js and MathJax beside the decks."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "reveal/dist/reveal.js").exists():
        wheel = folder / ".wheel"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(wheel), REVEAL], check=True)
        source = wheel / "sphinx_revealjs/_static/revealjs"
        shutil.copytree(source, folder / "reveal", dirs_exist_ok=True)
        shutil.rmtree(wheel)
    mathjax(folder / "mathjax")


def mathjax(folder: Path) -> None:
    """The copy that the pages use, for what is shown or printed from disk."""
    found = find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise SystemExit("MathJax is missing: install sphinx-mathjax-offline.")
    source = Path(found.origin).parent / "static/mathjax"
    fonts = "output/chtml/fonts"
    shutil.copytree(source / fonts, folder / fonts, dirs_exist_ok=True)
    shutil.copy2(source / "tex-chtml-full.js", folder)


def main(folder: Path = ROOT / "_build/slides") -> None:
    furniture(folder)
    for heading in LECTURES:
        sessions = course.plan(heading)
        whole = heading == LECTURES[0]  # the parts of one lecture are one deck
        for k, rows in enumerate([sessions] if whole else [[row] for row in sessions], start=1):
            named = [(course.chapters()[n], share) for row in rows for n, share in row["parts"]]
            parts = [(chapter, share, executed(chapter.path)) for chapter, share in named]
            skip = left_out(" ".join(row["leave out"] for row in rows))
            name = heading.lower().replace(" ", "-") + ("" if whole else f"-{k}")
            notebook = deck(parts, skip, 90)
            page = rendered(notebook, heading if whole else f"{heading}, lecture {k}")
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
            slides = sum(c.metadata.slideshow.slide_type == "slide" for c in notebook.cells)
            print(f"  {name}: {slides} slides")
    print(f"Slides: {folder} (S opens the notes; ?print-pdf in the address prints)")


if __name__ == "__main__":
    main()

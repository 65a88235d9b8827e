"""What a teacher hands out: slides, sheets, assignments; each on one sample."""

import re

import assignments
import nbformat
import pytest
import sheets
import slides
from chapters import ROOT, exercises, tagged
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pages import CHROMIUM

from page import course

SECOND = course.chapters()[2]


def figure(name):
    html = f'<figure id="{name}"><svg></svg><figcaption>{name}</figcaption></figure>'
    output = new_output("display_data", data={"text/html": html})
    return new_code_cell("page.show(fig, alt='A')", outputs=[output])


def executed():
    """A small chapter as the build would have left it."""
    box = "### Lemma 2.2 (A)\n\n> If $a$, then $b$.\n\n**Proof.** Because. ∎\n\nAnd then."
    other = "### Theorem 2.3 (B)\n\n> Always.\n\n**Proof.** See above. ∎"
    after = "Look at the left.\n\nThen at the right."
    cells = [new_markdown_cell(box), figure("one"), new_markdown_cell(after)]
    cells += [new_markdown_cell(other), new_code_cell("page.show(fig)", outputs=[])]
    cells += [new_markdown_cell("## Exercises\n\n### Lemma 2.9 (C)\n\n> Not a slide.")]
    return new_notebook(cells=cells)


def deck(skip=()):
    return slides.deck([(SECOND, 1.0, executed())], set(skip), 90)


def test_a_deck_has_statements_figures_and_notes():
    kinds = [c.metadata.slideshow.slide_type for c in deck().cells]
    assert kinds == ["slide", "notes"] * 6  # title, two boxes, a figure, an exercise, the answer
    found = "\n".join(c.source for c in deck().cells)
    assert "> If $a$, then $b$." in found
    assert "**Proof.** Because. ∎" in found
    assert "Look at the left." in found
    assert "Then at the right." not in found
    assert "Not a slide" not in found
    assert SECOND.title in found
    assert "Always" not in "\n".join(c.source for c in deck(["2.3"]).cells)


def test_a_deck_needs_no_network_and_hides_code():
    html = slides.rendered(deck(), "Lecture")
    assert re.findall(r'(?:src|href)="https?://[^"]*"', html.partition('class="reveal"')[0]) == []
    assert '<aside class="notes">' in html
    assert '<figure id="one">' in html
    assert "page.show" not in html
    assert "Reveal.initialize" in html


def test_every_lecture_of_the_plans_gets_a_deck(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "furniture", lambda folder: None)
    monkeypatch.setattr(slides, "executed", lambda path: executed())
    slides.main(tmp_path)
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"one-lecture", *(f"short-course-{k}" for k in range(1, 7))}
    assert "seven decks" in course.Chapter(0, ROOT / "book/teaching.ipynb").text
    first, last = ((tmp_path / f"short-course-{k}.html").read_text("utf-8") for k in (1, 6))
    for number, page in ((1, first), (2, first), (13, last), (16, last)):
        assert course.chapters()[number].title in page


def test_a_deck_takes_the_outputs_that_the_build_stored(tmp_path, monkeypatch):
    path = tmp_path / "01_a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("page.show(fig)")]), path)
    monkeypatch.setattr(slides, "cache_path", lambda: tmp_path / "cache")
    with pytest.raises(SystemExit, match=r"01_a.ipynb has not been executed yet: run `make book`"):
        slides.executed(path)
    done = nbformat.read(path, 4)
    done.cells[0].outputs = [new_output("stream", text="drawn")]
    bundle = CacheBundleIn(done, str(path))
    get_cache(tmp_path / "cache").cache_notebook_bundle(bundle, check_validity=False)
    assert slides.executed(path).cells[0].outputs[0].text == "drawn"


def test_what_a_plan_leaves_out():
    words = (
        "Propositions 6.6 and 6.7, Lemmas 9.5 to 9.7 as proofs, real digits, Theorem 14.6's proof"
    )
    assert slides.left_out(words) == {"6.6", "6.7", "9.5", "9.6", "9.7", "14.6"}
    named = {n for row in course.plan("Short course") for n in slides.left_out(row["leave out"])}
    boxes = [m[3] for c in course.chapters().values() for m in slides.BOX.finditer(c.text)]
    assert named <= set(boxes)


def test_a_long_note_ends_with_a_sentence():
    assert slides.say("It is so. " * 200).source.endswith("so. …")
    assert "Hint" not in slides.say("A.<details>Hint</details>").source


def test_the_sheet_of_exercises_has_all_and_no_solution():
    asked, solved = sheets.exercises(SECOND), sheets.solutions(SECOND)
    for exercise in exercises(SECOND.path):
        assert f"Exercise {exercise.number} (" in asked
        assert f"Exercise {exercise.number} (" in solved
        assert exercise.code.strip().splitlines()[-1].strip() not in asked
    assert "★★" in asked
    assert "Hints" in asked
    assert "<details>" not in asked + solved


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_cheat_sheet_is_one_page_and_a_sheet_prints(tmp_path):
    from pypdf import PdfReader

    found = sheets.sheets()
    name = f"exercises/{SECOND.path.stem}"
    sheets.printed({k: found[k] for k in (sheets.CHEAT, name)}, tmp_path)
    (cheat,) = PdfReader(tmp_path / f"{sheets.CHEAT}.pdf").pages
    assert [round(float(side)) for side in cheat.mediabox[2:]] == [595, 842]
    words = " ".join(page.extract_text() for page in PdfReader(tmp_path / f"{name}.pdf").pages)
    assert "Exercise 2.1" in words
    assert "\\mathsf" not in words  # formulas were set
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cheat_sheet.pdf", "exercises"]


def graded(notebook, answers):
    """Points by the exported cells: whether each check raises, and what it says."""
    space, said = {}, {}
    exec(tagged(SECOND.path, "imports")[0], space)
    for cell in notebook.cells:
        note = cell.metadata.get("nbgrader", {})
        if note.get("solution"):
            exec(answers(cell.source, note["grade_id"]), space)
        elif note.get("grade"):
            try:
                exec(cell.source, space)
            except AssertionError as error:
                said[note["grade_id"]] = str(error)
    return said


@pytest.mark.slow
def test_an_assignment_fails_stubs_passes_solutions_and_gives_a_hint():
    notebook = assignments.assignment(SECOND)
    marks = [c.metadata.nbgrader for c in notebook.cells if "nbgrader" in c.metadata]
    points = [m["points"] for m in marks if m["grade"]]
    assert points == [e.level for e in SECOND.exercises]
    ids = [m["grade_id"] for m in marks]
    assert len(set(ids)) == len(ids)

    def stub(source, _):
        return source.partition("### BEGIN SOLUTION")[0]

    def nearly(source, name):
        wrong = "def not_zero():\n    return {(1, 2), (3, 4), (4, 5)}\n"
        return wrong if "def not_zero" in source else source

    assert len(graded(notebook, stub)) == len(points)
    assert graded(notebook, lambda source, _: source) == {}
    (message,) = graded(notebook, nearly).values()
    assert "orthogonal points can have an entry" in message

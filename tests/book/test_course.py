"""Exercises with their marks, plans, points in a file, two editions."""

import csv
import json
from types import SimpleNamespace
from unittest.mock import Mock

import addresses
import editions
import lab
import nbformat
import pytest
from chapters import CHAPTERS, NOTEBOOKS, ROOT, tagged

import page
from page import course

PLANS = {"One lecture": 4, "Short course": 6, "Semester": 14}


def exercise(mark):
    parts = (f"### Exercise 1.1 (A)\n\n{mark}\n\nProve it.", "stub", "check", "solution")
    return course.Exercise(CHAPTERS[0], "1.1", "A", *parts)


def test_a_mark_is_level_minutes_and_kind():
    found = exercise("★★ · 10 min · by hand")
    assert (found.level, found.minutes, found.kind) == (2, 10, "by hand")
    for wrong in ("", "★★★★ · 10 min · by hand", "★ · 10 min · by foot"):
        with pytest.raises(ValueError, match=r"1\.1 needs a line such as"):
            _ = exercise(wrong).level


@pytest.mark.parametrize("heading", PLANS)
def test_a_plan_fits_its_minutes(heading):
    rows = course.plan(heading)
    assert len(rows) == PLANS[heading]
    assert max(row["text"] for row in rows) <= 90
    assert heading != "One lecture" or sum(row["text"] for row in rows) <= 90


def test_a_part_of_a_chapter_counts_in_part(tmp_path, monkeypatch):
    cell = {"cell_type": "markdown", "metadata": {}}
    table = (
        "\n## P\n\n| 1 | half of chapter 2, chapter 3 | chapter 9 |\n\n## Q\n\n| 1 | chapter 4 |\n"
    )
    (tmp_path / "book").mkdir()
    plan = {"cells": [cell | {"source": table}]}
    (tmp_path / "book/p.ipynb").write_text(json.dumps(plan))
    known = course.chapters()
    monkeypatch.setattr(course, "ROOT", tmp_path)
    (row,) = course.plan("P", "p")
    assert row["chapters"] == "2, 3"
    assert row["text"] == round(known[2].reading / 2 + known[3].reading)


def test_what_is_read_is_counted(tmp_path):
    body = "# A\n\nTwo words and $x$:\n\n$$\ny\n$$\n\n### Exercise 1.1 (B)\n\nLeft out."
    parts = [("markdown", body, []), ("code", "page.show(f)", ["hide-input"]), ("code", "1", [])]
    parts += [("markdown", "An answer.", ["solution"]), ("code", "check", ["exercise-check"])]
    made = [{"cell_type": k, "source": s, "metadata": {"tags": t}} for k, s, t in parts]
    (tmp_path / "01_a.ipynb").write_text(json.dumps({"cells": made}))
    expected = {"word": 3, "formula": 1, "display": 1, "figure": 1, "cell": 1}
    found = course.Chapter(1, tmp_path / "01_a.ipynb").counted
    assert found == pytest.approx(sum(course.PACE[k] * n for k, n in expected.items()))


def wrong():
    page.expect(3, 4, {3: "count again", None: "no"})


def test_points_are_stars_and_go_to_the_file_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("page.exercises._outcomes", {})
    monkeypatch.setenv("BOOK_SCORES", str(tmp_path / "scores.csv"))
    page.check("1.3", wrong)
    page.check("1.1", lambda: None)
    assert page.check("1.3", lambda: None).points == course.worth("1.3") == 2
    page.check("1.2", wrong)
    with (tmp_path / "scores.csv").open() as file:
        rows = [(r["exercise"], r["points"], r["of"], r["said"]) for r in csv.DictReader(file)]
    said = [
        ("1.3", "2", "2", "right"),
        ("1.1", "1", "1", "right"),
        ("1.2", "0", "1", "count again"),
    ]
    assert rows == said


@pytest.mark.parametrize(
    ("answer", "right", "message"),
    [
        (4.02, 4, None),
        ((1, "b"), (1, "b"), None),
        ({"a"}, {"a"}, None),
        (3, 4, "count again"),
        (9, 4, "no"),
        ((1,), (1, 2), "no"),
        ("x", 4, "no"),
        (None, 4, "return"),
    ],
)
def test_expect_gives_the_hint_of_the_wrong_answer(answer, right, message):
    hint = {3: "count again", None: "no"}
    outcome = page.check("1", lambda: page.expect(answer, right, hint, atol=0.1))
    assert bool(outcome) == (message is None)
    assert message is None or message in outcome.message


def test_the_readers_edition_has_no_solution(tmp_path, monkeypatch):
    monkeypatch.delenv("BOOK_EDITION", raising=False)
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    monkeypatch.setenv("GITHUB_SHA", "abc")
    editions.students(tmp_path)
    for path in CHAPTERS:
        nb = nbformat.read(tmp_path / path.name, 4)
        nbformat.validate(nb)
        assert tagged(path, "solution")
        assert tagged(tmp_path / path.name, "solution") == []
        assert "Solution</summary>" not in (tmp_path / path.name).read_text()
        code = [[c.source for c in b.cells if c.cell_type == "code"] for b in (nb, read(path))]
        assert code[0][1:] == code[1][1:]  # stored outputs still fit
        assert 'COMMIT, TOPIC = "https://github.com/a/b", "abc", "' in code[0][0]


def read(path):
    return nbformat.read(path, 4)


def test_the_build_leaves_solutions_out_unless_it_is_the_instructors(monkeypatch):
    text = CHAPTERS[0].read_text("utf-8")
    for name, left in (("", False), ("reader", False), ("instructor", True)):
        monkeypatch.setenv("BOOK_EDITION", name)
        editions.leave_out(None, "book/01_a", source := [text])
        assert ("Solution</summary>" in source[0]) == left
    monkeypatch.setenv("BOOK_EDITION", "pupil")
    with pytest.raises(ValueError, match="reader"):
        editions.edition()


def test_a_page_that_reads_the_chapters_is_never_up_to_date():
    app = SimpleNamespace(env=SimpleNamespace(found_docs={"book/teaching", "book/intro"}))
    assert editions.read_again(app) == ["book/teaching"]
    for name in editions.READS_CHAPTERS:
        assert (ROOT / f"book/{name}.ipynb").exists()


def test_the_lab_opens_on_all_titles():
    found = lab.start()
    assert "[2. The projector encodes the clustering](02_projector.ipynb)" in found
    missing = [p.stem for p in NOTEBOOKS[1:] if f"]({p.name})" not in found]
    assert missing == []


def test_a_dead_address_is_told_from_one_that_refuses(tmp_path, monkeypatch):
    assert "https://openreview.net/forum?id=Pjcz6ik78E" in addresses.cited()
    (tmp_path / "page").write_text("here")
    assert addresses.fault((tmp_path / "page").as_uri()) == ""
    assert "No such file" in addresses.fault((tmp_path / "gone").as_uri())

    def answer(code):
        error = addresses.urllib.error.HTTPError("x", code, "no", {}, None)
        monkeypatch.setattr(addresses.urllib.request, "urlopen", Mock(side_effect=error))
        return addresses.fault("https://x")

    assert answer(403) == ""
    assert answer(404) == "404 no"

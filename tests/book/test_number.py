"""Numbers follow the table of contents: a small book by hand, the real one there and back."""

import json
import re

import pytest
from docutils.nodes import make_id

from evidence import number
from evidence.number import ROOT, mentions, problems, renumber, targets

LINES = """# Lines

### Lemma 1.1 (Thin)

### Lemma 1.2 (Long)

Chapters 1 to 3 go on, chapters 2 to 3 as well."""
PLANES = r"""# Planes

### Definition 2.1 (Plane)

> Two lines, see chapter 1. $$a = b \tag{2.1}$$

### Theorem 2.2 (Wide)

> By Lemmas 1.1 and 1.2, the paper's Lemma 1.1 and (2.1), $f(2.1) = 2.1$. Theorem 1 of Weyl.

### Exercise 2.1 (Thick)"""
CODE = """by_mode(2.1)
plot(1.2, label="bound (2.1)")
print(f"Theorem 2.2: {x:2.1f}, version 3.1, doi 10.2/2.1")  # chapter 3's (3.1)
page.check("2.1", verify)"""
SPACES = r"""# Spaces

### Theorem 3.1 (Large)

> Theorem 2.2 (a) with equation (2.1) twice. $$c = d \tag{3.1}$$

See chapters 1 and 2 and [planes](02_planes.ipynb#theorem-22-wide)."""
CHECKER = '# Of Theorem\n# 2.2\nstatement("wide", "Theorem 2.2", 2.2)'


def notebook(*markdown, code=""):
    cells = [("markdown", m) for m in markdown] + [("code", code)] * bool(code)
    cells = [{"cell_type": kind, "source": source.splitlines(True)} for kind, source in cells]
    return json.dumps({"cells": cells}, indent=1, ensure_ascii=False) + "\n"


def contents(*names):
    return "".join(f"  - file: book/{name}\n" for name in names)


def small_book(*order, **other):
    files = {
        "_toc.yml": contents(
            *order or ("intro", "01_lines", "02_planes", "laboratory", "03_spaces")
        ),
        "book/intro.ipynb": notebook("# Preface\n\nChapter 3 ends it: `book/03_spaces.ipynb`."),
        "book/01_lines.ipynb": notebook(LINES),
        "book/02_planes.ipynb": notebook(PLANES, code=CODE),
        "book/03_spaces.ipynb": notebook(SPACES),
        "book/laboratory.ipynb": notebook("# The laboratory\n\n### Exercise L.1 (Play)"),
        "book/evidence/planes/statements.py": CHECKER,
    }
    return files | {f"book/{name}.ipynb": value for name, value in other.items()}


def text(files, path):
    return "\n".join(number._pieces(path, files[path]))


def test_a_chapter_moves_and_every_mention_follows():
    new, torn = renumber(small_book("intro", "01_lines", "03_spaces", "laboratory", "02_planes"))
    assert torn == []
    assert new["_toc.yml"] == contents("intro", "01_lines", "02_spaces", "laboratory", "03_planes")
    assert (
        text(new, "book/intro.ipynb") == "# Preface\n\nChapter 2 ends it: `book/02_spaces.ipynb`."
    )
    assert text(new, "book/01_lines.ipynb") == LINES
    planes = PLANES.replace("2.1 (", "3.1 (").replace("2.2 (", "3.2 (").replace("{2.1}", "{3.1}")
    planes = planes.replace("and (2.1)", "and (3.1)")
    code = CODE.replace("bound (2.1)", "bound (3.1)").replace("Theorem 2.2", "Theorem 3.2")
    code = code.replace("chapter 3's (3.1)", "chapter 2's (2.1)").replace('"2.1"', '"3.1"')
    assert text(new, "book/03_planes.ipynb") == f"{planes}\n{code}"
    assert text(new, "book/02_spaces.ipynb").splitlines()[2:] == [
        "### Theorem 2.1 (Large)",
        "",
        r"> Theorem 3.2 (a) with equation (3.1) twice. $$c = d \tag{2.1}$$",
        "",
        "See chapters 1 and 3 and [planes](03_planes.ipynb#theorem-32-wide).",
    ]
    assert new["book/evidence/planes/statements.py"] == (
        '# Of Theorem\n# 3.2\nstatement("wide", "Theorem 3.2", 2.2)'
    )
    assert renumber(new) == (new, [])
    back = new | {"_toc.yml": contents("intro", "01_lines", "03_planes", "laboratory", "02_spaces")}
    assert renumber(back) == (small_book(), [])


def test_chapters_in_a_list_stay_in_order_and_statements_keep_the_writers():
    intro = notebook("# Preface\n\nChapters 2 and 3, Theorems 2.2 and 3.1.")
    order = ("intro", "01_lines", "03_spaces", "laboratory", "02_planes")
    new, torn = renumber(small_book(*order, intro=intro))
    assert torn == []
    assert text(new, "book/intro.ipynb").endswith("Chapters 2 and 3, Theorems 3.2 and 2.1.")


def test_something_new_gets_its_number_from_its_place():
    lines = LINES.replace("### Lemma 1.2", "### Lemma 1.1a (New)\n\nLemma 1.1a.\n\n### Lemma 1.2")
    planes = (
        "# Planes\n\n### Definition 2.1 (Plane)\n\n$$a = b \\tag{2.1}$$\n\n### Exercise 2.1 (Thick)"
    )
    new, _ = renumber(
        small_book(
            *("intro", "0a_points", "01_lines", "02_planes", "wide", "03_spaces"),
            **{"01_lines": notebook(lines), "02_planes": notebook(planes)},
            **{
                "0a_points": notebook("# Points\n\nChapter 0a."),
                "wide": notebook("### Theorem 2.2 (Wide)"),
            },
        )
    )
    assert new["_toc.yml"] == contents(
        "intro", "01_points", "02_lines", "03_planes", "04_wide", "05_spaces"
    )
    assert text(new, "book/01_points.ipynb").endswith("Chapter 1.")
    assert text(new, "book/02_lines.ipynb").splitlines()[2:8:2] == [
        "### Lemma 2.1 (Thin)",
        "### Lemma 2.2 (New)",
        "Lemma 2.2.",
    ]
    assert "### Lemma 2.3 (Long)" in text(new, "book/02_lines.ipynb")
    assert text(new, "book/04_wide.ipynb") == "### Theorem 4.1 (Wide)"  # carried here by hand
    assert "> Theorem 4.1 (a) with equation (3.1) twice." in text(new, "book/05_spaces.ipynb")


def test_a_range_that_is_torn_keeps_its_ends_and_is_reported():
    new, torn = renumber(small_book("intro", "02_planes", "01_lines", "03_spaces"))
    assert text(new, "book/02_lines.ipynb").endswith(
        "Chapters 1 to 3 go on, chapters 1 to 3 as well."
    )
    assert torn == ["book/02_lines.ipynb: Chapter 2 to 3 → 1 to 3"]


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("### Lemma 1.1 (Twin)", "Lemma 1.1 has a number that is taken in book/01_lines.ipynb"),
        ("By Theorem 1.1.", "Theorem 1.1 is mentioned and does not exist"),  # it is a lemma
        ("By Lemmas 1.1 and 1.3.", "Lemma 1.3 is mentioned"),
        ("By (3.2).", "Equation 3.2 is mentioned"),
        ("See chapter 4.", "Chapter 4 is mentioned"),
    ],
)
def test_nothing_is_rewritten_while_a_number_is_not_clear(page, complaint):
    order = ("intro", "01_lines", "03_spaces", "02_planes", "more")
    with pytest.raises(ValueError, match=f"book/more.ipynb: {complaint}"):
        renumber(small_book(*order, more=notebook(f"# More\n\n{page}")))


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(number, "ROOT", tmp_path)
    (tmp_path / "book/evidence/planes").mkdir(parents=True)
    number.write({}, small_book(), tmp_path)
    (tmp_path / "new.yml").write_text(contents("intro", "01_lines", "03_spaces", "02_planes"))
    assert number.main(["--check"]) == 0
    order = ["--toc", str(tmp_path / "new.yml")]
    assert number.main(["--check", *order]) == 1
    assert "Theorem 2.2 → 3.2  Wide  book/03_planes.ipynb" in capsys.readouterr().out
    assert (tmp_path / "book/02_planes.ipynb").exists()
    assert number.main(order) == 0
    renamed = sorted(p.stem for p in tmp_path.glob("book/0*.ipynb"))
    assert renamed == ["01_lines", "02_spaces", "03_planes"]
    assert number.main(["--check"]) == 0
    (tmp_path / "book/intro.ipynb").write_text(notebook("# Preface\n\nTheorem 9.9"))
    assert number.main([]) == 1
    missing = "book/intro.ipynb: Theorem 9.9 is mentioned and does not exist"
    assert capsys.readouterr().err.splitlines()[-1].endswith(missing)  # no hint of plain numbers
    (tmp_path / "book/intro.ipynb").write_text(notebook("# Preface\n\nBy (9.9)."))
    assert number.main([]) == 1
    assert "Equation 9.9 is mentioned and does not exist; a plain" in capsys.readouterr().err


@pytest.fixture(scope="module")
def files():
    return number.read()


def test_the_repository_is_in_order(files):
    """Every number exists once, follows its place, and every mention has a target."""
    assert problems(files) == []
    new, torn = renumber(files)
    assert [path for path in new if new[path] != files.get(path)] == []
    assert torn == []


def test_every_heading_of_a_statement_has_a_number_and_a_title(files):
    heading = re.compile(rf"^#+ (?:{'|'.join(number.PLURALS)})\b.*", re.MULTILINE)
    chapters = {target.path for target in targets(files)}
    found = [m for path in sorted(chapters) for m in heading.findall(text(files, path))]
    assert len(found) == len([t for t in targets(files) if t.title and t.kind != "Chapter"])


def test_tests_name_nothing_by_its_number(files):
    known = {target.key for target in targets(files)}
    for path in sorted([*ROOT.glob("tests/lib/*.py"), *ROOT.glob("tests/evidence/*.py")]):
        found = {key for mention in mentions(path.read_text("utf-8")) for key in mention.keys}
        assert not found & known, path


def test_anchors_are_those_of_the_pages(files):
    headings = [t for t in targets(files) if t.kind not in ("Chapter", "Equation")]
    expected = [make_id(f"{t.kind} {t.number} ({t.title})") for t in headings]
    assert [t.anchor for t in headings] == expected


def topics(files):
    return [target.topic for target in targets(files) if target.kind == "Chapter"]


def reordered(files, order):
    """The files with the chapters' lines of the table of contents in another order of topics."""
    listed = [t.path.removesuffix(".ipynb") for t in targets(files) if t.kind == "Chapter"]
    by_topic = dict(zip(topics(files), listed, strict=True))
    toc = files["_toc.yml"]
    for place, path in enumerate(listed):
        toc = toc.replace(f"{path}\n", f"<{place}>\n")
    for place, topic in enumerate(order):
        toc = toc.replace(f"<{place}>", by_topic[topic])
    return files | {"_toc.yml": toc}


def meanings(files):
    """Every mention: the place where it stands, and what it means there, without its number."""
    known = {target.key: target for target in targets(files)}
    found = []
    for path in files:
        page = number._label_and_topic(path)[1] if path.endswith(".ipynb") else path
        for i, piece in enumerate(number._pieces(path, files[path])):
            for mention in mentions(piece):
                keys = set(mention.keys) & known.keys()
                if mention.ranges:
                    first, last = map(number._rank, mention.numbers)
                    family = [key for key in known if key[0] == mention.keys[0][0]]
                    keys = {key for key in family if first <= number._rank(key[1]) <= last}
                for t in map(known.__getitem__, keys):
                    name = t.title or t.number.partition(".")[2]
                    found.append((page, i, mention.kind, t.topic, name))
    return sorted(found)


@pytest.mark.parametrize(
    "order", [lambda x: x[::-1], lambda x: [x[-1], *x[:-1]]], ids=["back", "on"]
)
def test_the_book_in_another_order_says_the_same_and_comes_back(files, order):
    home = topics(files)
    there, torn = renumber(reordered(files, order(home)))
    assert torn == []
    assert topics(there) == order(home) != home
    assert renumber(there) == (there, [])
    said = meanings(files)
    assert meanings(there) == said
    assert len(said) > 2 * len(targets(files))
    assert renumber(reordered(there, home)) == (files, [])

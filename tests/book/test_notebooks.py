"""Chapters run and are clean; for their numbers see test_number."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import furniture
import nbformat
import pytest
from chapters import CHAPTERS, NOTEBOOKS, ROOT, exercises, tagged, text
from environment import cache_path
from jupyter_cache import get_cache
from nbmake.nb_run import NotebookRun
from notebooks import KERNEL, main, set_up, setup_cell, tidy, topic_of

from page.course import HOURS, KINDS, TIME, chapters

BOXES = "Definition|Lemma|Theorem|Proposition|Corollary|Counterexample"
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


LIVE = ("05_linear_maps", "laboratory")  # sliders and choices, and the bench
LONG = [() if path.stem in LIVE else pytest.mark.long for path in NOTEBOOKS]


@pytest.fixture(scope="module")
def built():
    """What the build ran, as long as nothing has changed that a page depends on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_STATIC", "1")
        return get_cache(cache_path())


@pytest.mark.slow
@each
def test_the_build_ran_every_cell(path, built):
    """By nbmake, in quick mode, with the live twin of each control."""
    _, nb = built.merge_match_into_notebook(nbformat.read(path, 4))
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=m, id=p.stem) for p, m in zip(NOTEBOOKS, LONG, strict=True)]
)
def test_runs_live_with_a_kernel(path, monkeypatch):
    """Without BOOK_STATIC, so that controls are widgets only, as in JupyterLab."""
    for name in list(os.environ):
        if name.startswith(("BOOK_", "PYTEST_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BOOK_MODE", "quick")
    done = NotebookRun(path, default_timeout=300).execute()
    assert done.error is None, done.error
    code = [cell for cell in done.nb.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code if cell.source.strip())


def test_a_notebook_that_fails_is_told(tmp_path):
    """A control of the run above."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(nb, tmp_path / "a.ipynb")
    error = NotebookRun(tmp_path / "a.ipynb", default_timeout=60).execute().error
    assert "ZeroDivisionError" in error.summary + error.trace


@each
def test_is_committed_clean(path):
    nb = nbformat.read(path, 4)
    assert nb.metadata.kernelspec == KERNEL
    ids = [cell["id"] for cell in nb.cells]
    assert len(set(ids)) == len(ids)
    for cell in nb.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 24, cell.source.splitlines()[0]
    assert re.match(r"# [^#]", nb.cells[0].source)
    assert "setup" in nb.cells[1].metadata.tags
    assert "remove-cell" in nb.cells[1].metadata.tags


@each
def test_cells_are_plain_python(path):
    """IPython 7, which Colab has, does not know ``x = !command`` under Python 3.12."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)


@each
def test_markdown_is_plain(path):
    body = text(path)
    litter = re.findall(r"\{(?:prf|eq|cite|numref|ref|exercise|solution)[:}`].*|^:::.*", body, re.M)
    assert litter == []
    for block in re.findall(r"\$\$(.*?)\$\$", body, re.S):
        assert "$" not in block
        # Sphinx wraps lines broken by \\\\ in an environment in which MathJax allows no tag
        assert not ("\\\\" in block and "\\tag" in block), block
    assert body.count("<details") == body.count("</details>")


@each
def test_the_setup_cell_is_the_template(path):
    """After a change of the template: `make tidy`."""
    (cell,) = tagged(path, "setup")
    stamp = re.search(r'COMMIT, TOPIC = "(.*?)", "(.*?)"', cell)  # a stamped copy has one
    assert cell == setup_cell(topic_of(path), *stamp.groups())


@pytest.mark.parametrize("name", ["13_depth", "12a_depth", "depth", "113_depth"])
def test_a_topic_has_no_number(name):
    assert topic_of(Path(f"{name}.ipynb")) == "depth"


START = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
os.chdir(sys.argv[1])
InteractiveShell.instance().run_cell(sys.stdin.read()).raise_error()
import page
print(page.__file__)
"""


def start(cell, folder):
    """A new kernel's first cell: the folder in which it finds ``page``, or how it ends."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", START, str(folder)],
        input=cell,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    return done.stdout.splitlines()[-1] if done.returncode == 0 else done.stderr


def copy_of_the_book(folder):
    shutil.copytree(ROOT / "book/page", folder / "book/page", ignore=lambda *_: ["__pycache__"])
    return folder


def test_the_setup_cell_finds_the_folder_beside_it_or_above(tmp_path):
    root = copy_of_the_book(tmp_path / "copy")
    (root / "book/mine").mkdir()
    for folder in (root, root / "book", root / "book/mine"):
        assert start(setup_cell("depth"), folder) == str(root / "book/page/__init__.py")
    assert "run `make lab`" in start(setup_cell("depth"), tmp_path)


def test_the_setup_cell_fetches_the_book_of_its_commit(tmp_path):
    """On any host: fresh, after a restart, with the folder gone, from a bad address."""
    source = copy_of_the_book(tmp_path / "source")

    def git(words):
        done = subprocess.run(["git", *words.split()], cwd=source, check=True, capture_output=True)
        return done.stdout.decode().strip()

    who = "-c user.name=a -c user.email=b@c"
    for words in ("init -q", "add .", f"{who} commit -qm book"):
        git(words)
    old = git("rev-parse HEAD")
    (source / "book/new.txt").write_text("later")
    git("add .")
    git(f"{who} commit -qm later")
    content = tmp_path / "content"
    content.mkdir()
    cell = setup_cell("depth", f"file://{source}", old)
    fetched = content / "book-source/book"
    for _ in range(2):  # the kernel was started again
        assert start(cell, content) == str(fetched / "page/__init__.py")
        assert not (fetched / "new.txt").exists()
    shutil.rmtree(content / "book-source")
    assert start(setup_cell("depth", f"file://{source}"), content) == str(
        fetched / "page/__init__.py"
    )
    assert (fetched / "new.txt").exists()  # no commit: the newest
    shutil.rmtree(content / "book-source")
    shutil.rmtree(source)
    message = start(cell, content)
    assert "The book's folder is missing" in message
    assert "source" in message  # git's own words, with the address


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_proof_ends(path):
    body = text(path)
    assert body.count("**Proof.**") == body.count("∎")
    boxes = re.findall(rf"^### (?:{BOXES}) [^\n]+\n\n(.)", body, re.M)
    assert boxes
    assert set(boxes) == {">"}


def test_the_table_of_contents_lists_every_notebook():
    assert {p.name for p in (ROOT / "book").glob("*.ipynb")} == {p.name for p in NOTEBOOKS}


def run(imports, *parts):
    """Execute the parts in one namespace; the last expression of the check is its outcome."""
    space = {}
    exec(imports, space)
    for part in parts[:-1]:
        exec(part, space)
    body, last = parts[-1].rstrip().rsplit("\n", 1)
    exec(body, space)
    return eval(last, space)


ALL = [e for path in NOTEBOOKS for e in exercises(path)]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_three_exercises_with_hints(path):
    found = exercises(path)
    headings = re.findall(r"^### Exercise (\d+\.\d+) \(", text(path), re.M)
    assert len(found) >= 3
    assert [e.number for e in found] == headings
    assert all("<summary>Hint</summary>" in e.statement for e in found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_exercises_of_every_kind_have_level_and_minutes(path):
    found = exercises(path)
    assert {e.kind for e in found} == set(KINDS)
    assert all(1 <= e.level <= 3 and 3 <= e.minutes <= 20 for e in found)
    assert len(tagged(path, "solution")) == len(found)
    assert all(e.solution in tagged(path, "solution") for e in found)


@pytest.mark.parametrize("chapter", chapters().values(), ids=lambda c: c.path.stem)
def test_the_time_at_the_head_is_that_of_text_and_exercises(chapter):
    _, said = TIME.findall(chapter.said("Time"))[:2]
    assert abs(HOURS[said] - chapter.practice) <= 8  # minutes; the head speaks in quarters
    assert abs(chapter.reading - chapter.counted) <= 8


@pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)
def test_the_stub_fails_and_the_solution_passes(exercise):
    imports = tagged(exercise.path, "imports")[0]
    stub = run(imports, exercise.stub, exercise.check)
    assert not stub
    assert "not answered yet" in stub.message
    solved = run(imports, exercise.code, exercise.check)
    assert solved, solved.message
    assert solved.exercise == exercise.number


def test_tidy_and_stamp():
    nb = nbformat.read(NOTEBOOKS[0], 4)
    ids = [cell["id"] for cell in nb.cells]
    nb.cells[1].execution_count = 3
    assert [cell["id"] for cell in tidy(nb).cells] == ids
    assert nb.cells[1].execution_count is None
    stamped = setup_cell("depth", "https://github.com/a/b", "abc")
    assert 'COMMIT, TOPIC = "https://github.com/a/b", "abc", "depth"' in stamped
    for stamp in (("https://github.com/a/b", "abc"), None):  # tidy keeps both
        assert set_up(nb, "depth", stamp).cells[1].source == stamped
    assert [cell["id"] for cell in nb.cells] == ids


def test_a_notebook_without_a_setup_cell_gets_one():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# New")])
    once = nbformat.writes(set_up(nb, "new_chapter"))
    assert nb.cells[1].source == setup_cell("new_chapter")
    assert nbformat.writes(set_up(nb, "new_chapter")) == once
    nbformat.validate(nb)


def test_tidy_writes_the_same_bytes_in_any_locale(tmp_path):
    path = next(p for p in NOTEBOOKS if not p.read_bytes().isascii())
    before = path.read_bytes()
    (tmp_path / path.name).write_bytes(before)
    program = [sys.executable, "-X", "utf8=0", ROOT / "book/_ext/notebooks.py", "tidy", tmp_path]
    subprocess.run(program, check=True, env={**os.environ, "LC_ALL": "C"})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_write_that_fails_leaves_the_notebook_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "01_a.ipynb"
    path.write_bytes(NOTEBOOKS[1].read_bytes())
    monkeypatch.setattr("nbformat.writes", lambda *_, **__: "\ud800")  # no such character
    with pytest.raises(UnicodeEncodeError):
        main("tidy", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == NOTEBOOKS[1].read_bytes()


PLAIN = r"black|white|none|auto|\w*grey|0?\.\d+"
COLOURS = re.compile(rf"""\b(?:edge|face)?colors?=\s*(["'])(?!{PLAIN})[^"']*\1|\bC\d\b""")
FIGURES = re.compile(r"page\.(?:show|explore)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")


def code_of(path):
    cells = nbformat.read(path, 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


@each
def test_colours_are_named_by_their_meaning_and_figures_have_captions(path):
    code = code_of(path)
    assert [found[0] for found in COLOURS.finditer(code)] == []
    bare = [found[0] for found in FIGURES.finditer(code) if "caption=" not in found[0]]
    assert bare == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_answers_at_its_head_and_says_at_its_end_what_one_can_do(path):
    if path.stem[:2].isdigit():
        words = text(path)
        assert 0 <= words.find("**Answer in brief.**") < words.index("**Goals.**")
        assert words.index("What you can do now") > words.index("## Exercises")


def test_every_chapter_is_on_the_map():
    assert set(furniture.LIT) == {p.stem[3:] for p in NOTEBOOKS if p.stem[:2].isdigit()}

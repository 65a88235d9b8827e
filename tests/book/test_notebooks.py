"""Chapters run, are clean, and every number exists once and every reference has a target."""

import os
import re
import subprocess
import sys
from collections import Counter

import nbformat
import pytest
from chapters import CHAPTERS, NOTEBOOKS, ROOT, exercises, tagged, text
from notebooks import KERNEL, stamp, tidy

KINDS = "Definition|Lemma|Theorem|Proposition|Corollary|Counterexample|Exercise"
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


@each
def test_runs_live_with_a_kernel(path):
    """The live path: no BOOK_STATIC, so that sliders are widgets, as in JupyterLab."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("BOOK_", "PYTEST_"))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbmake",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    command += ["-o", "addopts=", "--rootdir", str(path.parent), "--nbmake-timeout=300"]
    env["BOOK_MODE"] = "quick"
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=path.parent)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "1 passed" in done.stdout


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
def test_markdown_is_plain(path):
    body = text(path)
    litter = re.findall(r"\{(?:prf|eq|cite|numref|ref|exercise|solution)[:}`].*|^:::.*", body, re.M)
    assert litter == []
    for block in re.findall(r"\$\$(.*?)\$\$", body, re.S):
        assert "$" not in block
        # Sphinx wraps lines broken by \\\\ in an environment in which MathJax allows no tag
        assert not ("\\\\" in block and "\\tag" in block), block
    assert body.count("<details>") == body.count("</details>")


def test_setup_cells_are_the_same_everywhere():
    assert len({tagged(path, "setup")[0] for path in NOTEBOOKS}) == 1


def statements():
    pattern = rf"^#+ ({KINDS}) (\d+)\.(\d+) \("
    return [(p, *m) for p in NOTEBOOKS for m in re.findall(pattern, text(p), re.M)]


def test_statement_numbers_exist_once_and_in_their_chapter():
    found = statements()
    for path, kind, chapter, _ in found:
        assert int(path.name[:2]) == int(chapter), f"{kind} {chapter} in {path.name}"
    results = [(c, i) for _, kind, c, i in found if kind != "Exercise"]
    assert [n for n, count in Counter(results).items() if count > 1] == []
    for chapter in {c for c, _ in results}:
        numbers = [int(i) for c, i in results if c == chapter]
        assert numbers == list(range(1, len(numbers) + 1)), f"chapter {chapter}: {numbers}"


def test_equation_numbers_exist_once():
    tags = [tag for p in NOTEBOOKS for tag in re.findall(r"\\tag\{(.+?)\}", text(p))]
    assert [tag for tag, count in Counter(tags).items() if count > 1] == []


@each
def test_references_have_targets(path):
    known = {(kind, f"{c}.{i}") for _, kind, c, i in statements()}
    tags = {tag for p in NOTEBOOKS for tag in re.findall(r"\\tag\{(.+?)\}", text(p))}
    body = re.sub(rf"paper's (?:{KINDS}) \d+\.\d+", "", text(path))
    missing = set(re.findall(rf"\b({KINDS})s? (\d+\.\d+)", body)) - known
    assert missing == set()
    assert set(re.findall(r"[Ee]quation \((\d+\.\d+)\)", body)) <= tags
    for number in re.findall(r"\b[Cc]hapter (\d+)", body):
        assert any(p.name.startswith(f"{int(number):02d}_") for p in CHAPTERS), f"chapter {number}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_proof_ends(path):
    body = text(path)
    assert body.count("**Proof.**") == body.count("∎")
    boxes = re.findall(rf"^### (?:{KINDS[:-9]}) [^\n]+\n\n(.)", body, re.M)
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


@pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)
def test_the_stub_fails_and_the_solution_passes(exercise):
    imports = tagged(exercise.path, "imports")[0]
    stub = run(imports, exercise.stub, exercise.check)
    assert not stub
    assert "not answered yet" in stub.message
    solved = run(imports, exercise.solution, exercise.check)
    assert solved, solved.message
    assert solved.exercise == exercise.number


def test_tidy_and_stamp():
    nb = nbformat.read(NOTEBOOKS[0], 4)
    ids = [cell["id"] for cell in nb.cells]
    nb.cells[1].execution_count = 3
    assert [cell["id"] for cell in tidy(nb).cells] == ids
    assert nb.cells[1].execution_count is None
    once = stamp(nb, "https://github.com/a/b").cells[1].source
    assert 'REPOSITORY = "https://github.com/a/b"' in once
    assert stamp(nb, "https://github.com/a/b").cells[1].source == once

"""The long runs, a short sample of each, and that each sees what it is for.

``make mutants``, ``make threads``, ``make twice`` and ``make shuffled`` run whole, now and then.
"""

import os
import re
import subprocess
import sys

import mutants
import nbformat
import pytest
import threads
import twice
from chapters import ROOT

pytestmark = pytest.mark.slow


def script(*words, **environ):
    """Exit status and what was said."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=500,
    )
    return done.returncode, done.stdout + done.stderr


GROUPED = """
import pytest

@pytest.mark.parametrize("k", range(4))
@pytest.mark.xdist_group("one")
def test_together(k): pass
"""


def test_tests_of_a_group_run_in_one_process(tmp_path):
    """pytest 9.2 with xdist 3.8 spreads them, silently: each page was opened three times."""
    (tmp_path / "test_a.py").write_text(GROUPED)
    options = ["-v", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    code, said = script("-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path))
    assert code == 0, said
    assert len(set(re.findall(r"\[gw(\d)\].* PASSED", said))) == 1


def test_mutants_are_noticed(tmp_path):
    small = ["--number", "2", "--seed", "1", "--only", "subspace_lib/rowspace", "--kept"]
    code, said = script(
        "tests/mutants.py", *small, str(tmp_path), "--tests", "tests/lib/test_rowspace.py"
    )
    assert code == 0, said
    assert "(100.0%)" in said


def test_a_mutant_that_nobody_notices_is_told(capsys):
    drawn = list(mutants.mutants(ROOT / "subspace_lib/rowspace.py"))[:20]
    done = {mutant.key: {"by": "a test", "tests": 1} for mutant in drawn}
    assert mutants.report(drawn, done) == 0
    for mutant in drawn[:2]:
        done[mutant.key] = {"by": "", "tests": 1}
    assert mutants.report(drawn, done) == 1
    assert drawn[0].name in capsys.readouterr().out


def test_thread_counts_give_the_same_verdicts():
    code, said = script("tests/threads.py", "power-step")
    assert code == 0, said
    assert "4 threads" in said


def test_a_verdict_that_depends_on_the_threads_is_told(monkeypatch):
    monkeypatch.setattr(threads, "verdicts", lambda count, names: {"claim": count < 4, "other": 1})
    assert threads.main(["any"]) == "1 differ"


def test_cells_run_twice():
    code, said = script("tests/twice.py", "notation", "about")
    assert code == 0, said
    assert said.count("0 differ") == 2


def test_a_cell_that_says_another_the_second_time_is_told(monkeypatch, tmp_path):
    path = tmp_path / "page.ipynb"
    cells = ["n = globals().get('n', 0) + 1\nprint(n)", "print('the same')"]
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        ),
        path,
    )
    monkeypatch.setattr(twice, "chapters", lambda: [path])
    assert twice.main([]).count("says another") == 1


def test_a_page_that_is_not_there_is_told():
    assert "contains nosuch" in twice.main(["nosuch"])


def test_the_order_of_tests_does_not_matter():
    code, said = script("-m", "pytest", "-q", "tests/lib/test_rowspace.py", SHUFFLE="3")
    assert code == 0, said

"""Whatever the locale and the terminal: text is UTF-8, files are whole, no sign stops a print."""

import ast
import io
import sys

import pytest
from environment import ROOT

import page
import subspace_lib as sl
from evidence import number
from subspace_lib.networks import FeedForward
from subspace_lib.training import train
from subspace_lib.trajectory import Trajectory

FOLDERS = ("subspace_lib", "book/evidence", "book/page", "book/_ext", "benchmarks")
WRITES = {"read_text": 0, "write_text": 1}  # method → place of the encoding among its arguments


def careless(text):
    """Lines that read or write text in the encoding of the machine."""
    for call in (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        named = {word.arg: word.value for word in call.keywords}
        if name in WRITES and "encoding" not in named and len(call.args) <= WRITES[name]:
            yield call.lineno
        if name == "open" and "encoding" not in named:
            modes = [a.value for a in [*call.args, *named.values()] if isinstance(a, ast.Constant)]
            method = isinstance(call.func, ast.Attribute)
            if not method and not any("b" in str(mode) for mode in modes):
                yield call.lineno
            if method and not call.args and not named:
                yield call.lineno


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_of_text_is_read_and_written_as_utf8(folder):
    paths = list((ROOT / folder).rglob("*.py"))
    found = {path.name: list(careless(path.read_text("utf-8"))) for path in paths}
    assert paths
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_careless_line_is_seen():
    code = "p.read_text()\np.write_text(t)\nopen(p)\np.open()\nopen(p, 'w')\n"
    good = "p.read_text('utf-8')\np.write_text(t, 'utf-8')\nopen(p, 'rb')\np.open('wb')\n"
    assert list(careless(code)) == [1, 2, 3, 4, 5]
    assert list(careless(good + "p.read_text(encoding='utf-8')\n")) == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_outcome_is_printed_on_any_terminal(encoding, monkeypatch):
    """The set-up cell of every notebook begins a page, also where it runs as a script."""
    outcome = page.check("99.1", lambda: page.close([1.0], [2.0], name="‖Z‖"))
    assert not outcome
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with pytest.raises(UnicodeEncodeError):
        print(outcome, file=terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    page.begin("depth")
    print(outcome)
    terminal.flush()
    assert b"\n? Exercise 99.1: ?Z? is " in terminal.buffer.getvalue()


def test_a_renumbering_that_fails_loses_no_file(tmp_path):
    """The second file cannot be written: the first is whole, and what moves is still there."""
    before = {"a.md": "Lemma 1.1 é", "b.md": "é", "old.md": "moves"}
    number.write({}, before, tmp_path)
    after = {"a.md": "Lemma 1.2 é", "b.md": "\ud800", "new.md": "moves"}
    with pytest.raises(UnicodeEncodeError):
        number.write(before, after, tmp_path)
    found = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert found == before | {"a.md": "Lemma 1.2 é"}


def test_a_run_that_cannot_be_saved_leaves_the_one_before(tmp_path, monkeypatch):
    data = sl.sample_union(
        ambient_dim=6, n_subspaces=2, subspace_dim=1, points_per_subspace=5, seed=0
    )
    made = train(FeedForward((6, 4, 6)), data, steps=2, progress=False)
    made.save(tmp_path / "run1")
    before = (tmp_path / "run1.npz").read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        made.save(tmp_path / "run1")
    assert (tmp_path / "run1.npz").read_bytes() == before
    assert Trajectory.load(tmp_path / "run1").loss.shape == made.loss.shape
    assert [path.name for path in tmp_path.iterdir()] == ["run1.npz"]


def test_points_that_cannot_be_written_leave_those_before(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("page.exercises._outcomes", {})
    monkeypatch.setattr("page.exercises.START", tmp_path)
    monkeypatch.setenv("BOOK_SCORES", "scores.csv")
    page.check("1.1", lambda: None)
    before = (tmp_path / "scores.csv").read_bytes()
    monkeypatch.chdir("/")  # a cell that goes elsewhere

    def full(writer, rows):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("csv.DictWriter.writerows", full)
        assert page.check("1.2", lambda: None)
    assert "no points in scores.csv (No space left on device)" in capsys.readouterr().out
    assert (tmp_path / "scores.csv").read_bytes() == before
    page.check("1.3", lambda: None)
    assert len((tmp_path / "scores.csv").read_text("utf-8").splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_an_order_that_is_not_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr(number, "read", lambda root: {})
    with pytest.raises(SystemExit):
        number.main(["--toc", "~/no such order.yml"])
    assert "--toc must be a file with the new order, got '~/no such" in capsys.readouterr().err

"""The build's own parts: repository, cache key, failing cells, modes."""

import subprocess

import environment
import execute_book
import nbformat
import pytest

import page


def test_repository_from_environment_remote_or_not_at_all(tmp_path, monkeypatch):
    for name in ("GITHUB_REPOSITORY", "GITHUB_REF_NAME", "BOOK_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert environment.repository(tmp_path) is None
    remote = ["git", "remote", "add", "origin", "git@github.com:some/book.git"]
    subprocess.run(remote, cwd=tmp_path, check=True)
    assert environment.repository(tmp_path) == ("https://github.com/some/book", "main")
    monkeypatch.setenv("GITHUB_REPOSITORY", "other/name")
    assert environment.repository(tmp_path) == ("https://github.com/other/name", "main")


def test_cache_key_sees_library_mode_and_results(tmp_path, monkeypatch):
    (tmp_path / "subspace_lib").mkdir()
    source = tmp_path / "subspace_lib" / "a.py"
    source.write_text("x = 1")
    keys = {environment.cache_key(tmp_path)}
    assert keys == {environment.cache_key(tmp_path)}
    source.write_text("x = 2")
    keys.add(environment.cache_key(tmp_path))
    monkeypatch.setenv("BOOK_MODE", "full")
    keys.add(environment.cache_key(tmp_path))
    (tmp_path / "book" / "results" / ".parts" / "running").mkdir(parents=True)
    keys.add(environment.cache_key(tmp_path))  # an unfinished sweep is no result
    (tmp_path / "book" / "results" / "r.npz").write_bytes(b"result")
    keys.add(environment.cache_key(tmp_path))
    assert len(keys) == 4


def test_a_failing_cell_names_chapter_and_cell(tmp_path):
    cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell("y = 1 / 0")]
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(nb, tmp_path / "07_bad.ipynb")
    (message,) = execute_book.execute([tmp_path / "07_bad.ipynb"], tmp_path / "cache")
    assert "07_bad.ipynb, cell 2" in message
    assert "y = 1 / 0" in message
    assert "ZeroDivisionError" in message


def test_mode(monkeypatch):
    monkeypatch.delenv("BOOK_MODE", raising=False)
    assert page.by_mode(quick=1, full=2) == 1
    monkeypatch.setenv("BOOK_MODE", "full")
    assert page.by_mode(quick=1, full=2) == 2
    assert page.mode_note(trials=3) == "full mode: trials 3"
    monkeypatch.setenv("BOOK_MODE", "huge")
    with pytest.raises(ValueError, match="'quick', 'full'"):
        page.book_mode()

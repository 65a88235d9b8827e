"""The build's own parts: repository, cache key, what kernels inherit, failing cells, old pages."""

import os
import re
import subprocess
import tomllib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import bookenv
import environment
import execute_book
import furniture
import nbformat
import pytest
from docutils import nodes
from jupyter_cache import get_cache


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


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A root with a file of every kind."""
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    contents = "root: book/intro\nparts:\n- file: book/01_a\n- file: book/02_b\n"
    files = ["subspace_lib/a.py", "subspace_lib/probe/a.py", "book/evidence/a/claims.py"]
    files += ["book/page/a.py", "book/_ext/a.py", "book/assets/a/a.css", "CITATION.cff"]
    files += ["book/results/r.npz", "other/r.npz"]
    files += ["book/intro.ipynb", "book/01_a.ipynb", "book/02_b.ipynb"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    (tmp_path / "_toc.yml").write_text(contents)
    return tmp_path


def test_the_cache_key_sees_every_file_a_page_depends_on(book):
    keys = [environment.cache_key(book)]
    for name in (*environment.SOURCES, "book/results"):
        for path in list((book / name).rglob("*.*")):
            path.write_text("x = 2")
            keys.append(environment.cache_key(book))
            path.rename(path.with_name("renamed.py"))
            keys.append(environment.cache_key(book))
    (book / "CITATION.cff").write_text("another version")
    keys.append(environment.cache_key(book))
    contents = (book / "_toc.yml").read_text()
    swapped = contents.replace("01_a", "xx").replace("02_b", "01_a").replace("xx", "02_b")
    (book / "_toc.yml").write_text(swapped)
    keys.append(environment.cache_key(book))
    assert len(set(keys)) == len(keys) == 17


def test_the_cache_key_does_not_see_what_no_page_shows(book):
    key = environment.cache_key(book)
    (book / "book/results/.parts/running").mkdir(parents=True)
    (book / "book/results/.parts/running/0.npz").write_bytes(b"half a sweep")
    (book / "subspace_lib/__pycache__").mkdir()
    (book / "subspace_lib/__pycache__/a.pyc").write_bytes(b"compiled")
    (book / "book/01_a.ipynb").write_text("its cells are compared by jupyter-cache")
    assert environment.cache_key(book) == key


def test_the_cache_key_sees_variables_another_results_folder_and_versions(book, monkeypatch):
    keys = [environment.cache_key(book)]
    for name in environment.VARIABLES:
        monkeypatch.setenv(name, "1")
        keys.append(environment.cache_key(book))
    monkeypatch.setenv("BOOK_RESULTS", str(book / "other"))
    keys.append(environment.cache_key(book))
    (book / "other/r.npz").write_text("another number")
    keys.append(environment.cache_key(book))
    (book / "book/results/r.npz").write_text("not in use")
    assert environment.cache_key(book) == keys[-1]
    monkeypatch.setattr("environment.version", lambda name: "0.1")
    keys.append(environment.cache_key(book))
    assert len(set(keys)) == len(keys)


def test_the_cache_key_knows_every_variable_that_the_book_reads():
    code = [
        path.read_text(encoding="utf-8")
        for name in environment.SOURCES
        for path in (environment.ROOT / name).rglob("*.py")
    ]
    code += [path.read_text(encoding="utf-8") for path in environment.chapters()]
    read = {name for text in code for name in re.findall(r'"((?:BOOK|SUBSPACE)_[A-Z_]+)\\?"', text)}
    assert "BOOK_MODE" in read
    pages = {"BOOK_BRANCH", "BOOK_EDITION", "BOOK_URL"}  # addresses, what is left out: in no cell
    assert read - pages <= set(environment.VARIABLES)


def test_the_cache_key_knows_every_package_that_pages_need():
    needed = set()
    for name in ("pyproject.toml", "book/pyproject.toml"):
        project = tomllib.loads((environment.ROOT / name).read_text("utf-8"))["project"]
        needed |= {re.match(r"[\w-]+", said)[0] for said in project["dependencies"]}
    assert needed - {"subspace-lib"} <= set(environment.LIBRARIES)


def test_kernels_inherit_folders_of_the_build(tmp_path, monkeypatch):
    for name in (*environment.VARIABLES, *environment.SETTINGS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOK_RESULTS", "mine")
    monkeypatch.setenv("SUBSPACE_DATA", "data")
    environment.prepare(tmp_path)
    assert os.environ["BOOK_STATIC"] == "1"
    assert os.environ["BOOK_RESULTS"] == str(tmp_path / "mine")
    assert os.environ["SUBSPACE_DATA"] == str(tmp_path / "data")
    for name in environment.SETTINGS:
        assert Path(os.environ[name]).is_relative_to(tmp_path / "_build")
        assert Path(os.environ[name]).is_dir()


def test_pages_say_when_the_results_are_not_the_books_own(book, monkeypatch):
    def announced():
        config = SimpleNamespace(html_theme_options={})
        bookenv.configure(SimpleNamespace(srcdir=str(book)), config)
        return config.html_theme_options.get("announcement", "")

    assert announced() == ""
    monkeypatch.setenv("BOOK_RESULTS", str(book / "book/results"))
    assert announced() == ""
    monkeypatch.setenv("BOOK_RESULTS", str(book / "other"))
    assert "“other”" in announced()
    assert str(book) not in announced()


def test_pages_are_read_again_for_another_edition_and_after_a_heading_has_changed(monkeypatch):
    monkeypatch.setattr(bookenv, "prepare", lambda root: None)
    found = []
    for edition in ("reader", "instructor"):
        monkeypatch.setenv("BOOK_EDITION", edition)
        bookenv.setup(app := MagicMock(srcdir=environment.ROOT))
        found.append({call.args[0]: call.args[1:] for call in app.add_config_value.mock_calls})
    first, second = found
    assert first["book_targets"] == second["book_targets"]
    assert first["book_edition"] == ("reader", "env")
    assert second["book_edition"] == ("instructor", "env")
    known = bookenv.links.known()
    key = next(key for key, target in known.items() if target.kind == "Theorem")
    other = known | {key: replace(known[key], title="Another title")}
    monkeypatch.setattr(bookenv.links, "known", lambda: other)
    assert bookenv.pages_depend_on()["targets"] != first["book_targets"][0]


def test_punctuation_stays_in_the_line_of_its_formula():
    long = "x" * (furniture.SHORT + 1)
    page = nodes.paragraph()
    for words in ("so (", "$x", "), and ", f"${long}", ". For all ", "$r", "-th ones"):
        page += nodes.math("", words[1:]) if words[0] == "$" else nodes.Text(words)
    furniture.hold_punctuation(None, page)
    assert page.astext() == f"so (x), and {long}. For all r-th ones"
    assert [held.astext() for held in page.findall(nodes.inline)] == ["(x),", "r-"]


def test_a_page_goes_with_its_chapter(tmp_path):
    for folder in ("book", "_sources/book"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("01_a", "09_gone"):
        (tmp_path / f"book/{name}.html").write_text("page")
        (tmp_path / f"_sources/book/{name}.ipynb.txt").write_text("its source")
    env, builder = SimpleNamespace(found_docs={"book/01_a"}), SimpleNamespace(format="html")
    app = SimpleNamespace(env=env, builder=builder, outdir=str(tmp_path))
    bookenv.drop_old_pages(app, RuntimeError("half a build"))
    assert len(list((tmp_path / "book").iterdir())) == 2
    bookenv.drop_old_pages(app, None)
    assert [path.name for path in (tmp_path / "book").iterdir()] == ["01_a.html"]
    assert [path.name for path in (tmp_path / "_sources/book").iterdir()] == ["01_a.ipynb.txt"]


def test_icon_fonts_stand_in_a_sheet_without_widths(tmp_path):
    styles = tmp_path / "_static/styles"
    styles.mkdir(parents=True)
    font, wide = "@font-face{src:url(../a.woff2)}", "@media (min-width:960px){p{color:red}}"
    (styles / "pydata-sphinx-theme.css").write_text(f"a{{b:c}}{font}{wide}")
    (styles / "theme.css").write_text('@import "../basic.css";')
    for error in (RuntimeError("half a build"), None, None):
        bookenv.part_fonts(SimpleNamespace(outdir=str(tmp_path)), error)
    assert (styles / "pydata-sphinx-theme.css").read_text() == f"a{{b:c}}{wide}"
    assert (styles / "theme.css").read_text() == f'@import "../basic.css";\n{font}\n'


def test_fonts_that_are_fetched_early_are_there():
    script = (environment.ROOT / "book/assets/book.js").read_text("utf-8")
    asked = re.search(r"const fonts = \[(.*?)\]", script)[1].replace('"', "").split(", ")
    folder = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
    for name in asked:
        assert (folder / f"output/chtml/fonts/woff-v2/MathJax_{name}.woff").exists()


def test_chapters_that_fail_name_their_cell_and_the_others_are_kept(tmp_path, monkeypatch):
    """As without a writable home: folders of the build's own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    sources = {
        "01_raises": ["x = 1", "y = 1 / 0"],
        "02_dies": ["x = 1", "import os; os._exit(1)", "y = 1"],
        "03_is_loud": ["x = 1", 'import sys; print("told", file=sys.stderr)', "y = 1"],
        "04_is_good": ["print(1)"],
    }
    paths = []
    for name, cells in sources.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        paths.append(tmp_path / f"{name}.ipynb")
        nbformat.write(nb, paths[-1])
    raised, died, loud = execute_book.execute(paths, tmp_path / "cache")
    for message, first, reason in (
        (raised, "01_raises.ipynb, cell 2", "ZeroDivisionError"),
        (died, "02_dies.ipynb, cell 2", "DeadKernelError"),
        (loud, "03_is_loud.ipynb, cell 2", "told"),
    ):
        assert message.startswith(first)
        assert reason in message
    kept = get_cache(tmp_path / "cache").list_cache_records()
    assert [Path(record.uri).name for record in kept] == ["04_is_good.ipynb"]

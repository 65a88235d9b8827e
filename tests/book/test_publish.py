"""What a published page carries, and what it does not while no address is known."""

from types import SimpleNamespace

import environment
import publish
import pytest
from docutils import nodes

ADDRESSES = ("BOOK_URL", "GITHUB_REPOSITORY", "BOOK_BRANCH", "GITHUB_REF_NAME")


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)


def app(tmp_path):
    builder, env = SimpleNamespace(format="html"), SimpleNamespace(found_docs={"book/b", "book/a"})
    return SimpleNamespace(outdir=tmp_path, srcdir=environment.ROOT, builder=builder, env=env)


def page(*paragraphs):
    root = nodes.document(None, None)
    root += [nodes.paragraph("", text) for text in paragraphs]
    return root


def test_no_address_is_invented(tmp_path):
    publish.finish(app(tmp_path), None)
    assert {p.name for p in tmp_path.iterdir()} == {"404.html", ".nojekyll"}
    publish.describe(None, "book/a", "", context := {"title": "A"}, page("Words."))
    assert "http" not in context["metatags"]


def test_with_an_address_there_are_sitemap_and_card(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "Some/book")
    publish.finish(app(tmp_path), None)
    found = (tmp_path / "sitemap.xml").read_text()
    assert found.index("<loc>https://some.github.io/book/book/a.html</loc>") < found.index("book/b")
    assert "https://some.github.io/book/sitemap.xml" in (tmp_path / "robots.txt").read_text()
    assert "https://some.github.io/book/book/intro.html" in (tmp_path / "404.html").read_text()
    context = {"title": "<em>A</em>"}
    publish.describe(None, "book/a", "", context, page("No.", "Answer in brief. Yes & no."))
    assert 'name="description" content="Yes &amp; no."' in context["metatags"]
    assert 'property="og:title" content="A"' in context["metatags"]
    assert (environment.ROOT / "book/assets" / publish.CARD.removeprefix("_static/")).exists()
    monkeypatch.setenv("BOOK_URL", "https://book.example")
    assert publish.site() == "https://book.example/"


def test_a_description_is_short_and_plain():
    words = publish.brief(page("Answer in brief. " + r"At most $\|Z\|/\delta_1$. " * 20))
    assert len(words) <= publish.LONGEST + 2
    assert not set(words) & set("$\\{}")


def test_each_page_says_version_and_date():
    theme = {}
    publish.configure(app(None), SimpleNamespace(html_theme_options=theme))
    known = publish.citation()
    assert f"Version {known['version']}, {known['date-released']}." in theme["extra_footer"]


def test_a_page_is_edited_where_its_notebook_comes_from(monkeypatch):
    inner = {"url": "https://x/edit/notebooks/book/a.ipynb"}
    opened = {"url": "https://x/blob/notebooks/book/a.ipynb"}
    monkeypatch.setenv("BOOK_BRANCH", "notebooks")
    buttons = [{"type": "group", "buttons": [inner]}, opened]
    publish.edit_the_source(None, "", "", {"header_buttons": buttons}, None)
    assert inner["url"] == "https://x/edit/main/book/a.ipynb"
    assert "/blob/notebooks/" in opened["url"]

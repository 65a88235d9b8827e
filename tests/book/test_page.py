"""What a page needs beside its sliders: figures with their text, exercises, the two modes."""

import re

import matplotlib.pyplot as plt
import pytest

import page
from page.figures import chapter_number

CONTENTS = """
root: book/intro
parts:
  - chapters:
      - file: book/01_unions
      - file: book/15_depth
      - file: book/laboratory
      - file: book/03_theorem
"""


@pytest.fixture
def in_chapter(tmp_path, monkeypatch):
    """Begin a chapter of a small table of contents."""
    contents = tmp_path / "_toc.yml"
    contents.write_text(CONTENTS)
    monkeypatch.setattr("page.figures.CONTENTS", contents)
    yield page.begin
    page.begin("")


def drawing():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1])
    return fig


def shown(caption, alt="A rising line."):
    html = page.show(drawing(), alt=alt, caption=caption).data
    found = re.search(r'<figure id="(.*?)".*<b>(.*?)\.</b> (.*?)</figcaption></figure>', html, re.S)
    return found.groups()


def test_show_needs_alternative_text_and_closes_the_figure():
    plt.close("all")
    with pytest.raises(ValueError, match="alt must say"):
        page.show(drawing(), alt="")
    html = page.show(drawing(), alt="a < b").data
    assert 'alt="a &lt; b"' in html
    assert "<figure" not in html
    assert len(plt.get_fignums()) == 1  # the one that was refused


def test_captions_are_numbered_within_the_chapter(in_chapter):
    in_chapter("theorem")
    assert shown("First.") == ("figure-theorem-1", "Figure 3.1", "First.")
    page.show(drawing(), alt="A figure without a caption takes no number.")
    assert shown("Second.") == ("figure-theorem-2", "Figure 3.2", "Second.")
    assert shown("First.")[1] == "Figure 3.1"  # its cell ran again
    in_chapter("depth")
    assert shown("First.") == ("figure-depth-1", "Figure 2.1", "First.")
    in_chapter("laboratory")  # no chapter
    assert shown("First.") == ("figure-laboratory-1", "Figure 1", "First.")


def test_chapters_are_counted_in_the_table_of_contents(tmp_path, monkeypatch, in_chapter):
    topics = ("unions", "depth", "theorem", "laboratory")
    assert [chapter_number(topic) for topic in topics] == [1, 2, 3, None]
    monkeypatch.setattr("page.figures.CONTENTS", tmp_path / "elsewhere.yml")
    assert chapter_number("depth") is None


def test_a_caption_may_hold_signs_and_formulas():
    assert shown("If $a < b$ & c")[2] == r"If \(a &lt; b\) &amp; c"
    with pytest.raises(ValueError, match="caption must say"):
        page.show(drawing(), alt="A line.", caption=" ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], None),
        ([[1.0, 3.0], [2.0, 4.0]], "transpose"),
        ([[2.0, 4.0], [6.0, 8.0]], "2 times"),
        ([1.0], "shape"),
        (None, "return"),
        ([[1.0, 2.0], [3.0, 5.0]], "off by up to 1"),
    ],
)
def test_close_says_what_is_wrong(answer, message):
    outcome = page.check("9.9", lambda: page.close(answer, [[1.0, 2.0], [3.0, 4.0]]))
    assert bool(outcome) == (message is None)
    assert message is None or message in outcome.message


def test_check_reports_any_failure():
    def stub():
        raise NotImplementedError

    assert "not answered yet" in page.check("1", stub).message
    assert "ZeroDivisionError" in page.check("1", lambda: 1 / 0).message
    assert "Exercise 1" in page.check("1", stub)._repr_html_()


def test_mode(monkeypatch):
    monkeypatch.delenv("BOOK_MODE", raising=False)
    assert page.by_mode(quick=1, full=2) == 1
    monkeypatch.setenv("BOOK_MODE", "full")
    assert page.by_mode(quick=1, full=2) == 2
    assert page.mode_note(trials=3) == "full mode: trials 3"
    monkeypatch.setenv("BOOK_MODE", "huge")
    with pytest.raises(ValueError, match="'quick', 'full'"):
        page.book_mode()

"""What a page needs beside its sliders: figures, exercises, the two modes, rendered docstrings."""

import re
import sys
from pkgutil import iter_modules
from types import ModuleType

import matplotlib.pyplot as plt
import nbformat
import pytest
from chapters import ROOT

import page
import subspace_lib as sl
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


def test_a_chapter_says_where_it_trains(in_chapter, capsys, monkeypatch):
    for there, name in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert page.device() == name
        in_chapter("depth")
        assert capsys.readouterr().out == f"networks train on: {name}\n"
    in_chapter("laboratory")  # trains in the reader's browser
    assert capsys.readouterr().out == ""


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
    assert 'aria-label="a &lt; b"' in html
    assert "<figure" not in html
    assert "<style" not in html  # it would hold for all of the page
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


def test_a_caption_has_the_apostrophes_of_the_text(in_chapter):
    in_chapter("depth")
    assert shown("The layers' and the map's, $f'(x)$.")[2].startswith("The layers’ and the map’s, ")
    assert "f&#x27;(x)" in shown("The map's $f'(x)$.")[2]


def test_a_caption_may_hold_signs_and_formulas():
    assert shown("If $a < b$ & c")[2] == r"If \(a &lt; b\) &amp; c"
    held = r'\(a\) <span class="held">\(b\),</span> <span class="held">\(c\).</span>'
    assert shown("$a$ $b$, $c$.")[2] == held
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


TOY = '''
def double(x: "int" = 1) -> "int":
    """Twice ``x``, as in doi:10.1000/182.

    x: a number < 3.
    Raises TypeError for text.

    >>> double(2)
    4
    """
    return 2 * x

def brief():
    """Without an example."""

class Box:
    """Holds.

    >>> Box().open(two)
    2
    """

    def open(self, what):
        """What is inside."""
        return what

CONSTANT = 1
Named = dict[str, int]
__all__ = ["Box", "CONSTANT", "Named", "brief", "double"]
'''


@pytest.fixture
def toy(monkeypatch):
    """A package with one module; what the package's example defines, all examples see."""
    package, module = ModuleType("toy"), ModuleType("toy.room")
    package.__doc__ = "A package.\n\n>>> from toy.room import *\n>>> two = 2\n"
    module.__doc__ = "A room."
    monkeypatch.setitem(sys.modules, "toy", package)
    monkeypatch.setitem(sys.modules, "toy.room", module)
    exec(TOY, vars(module))
    package.double, package.__all__ = module.double, ["double"]
    return package, module


def test_a_docstring_is_rendered_with_what_its_example_prints(toy):
    html = page.reference(toy[0], "double").data
    plain = re.sub("<.*?>", "", html)
    assert '<h3 id="double">' in html
    assert "double(x=1)" in plain
    assert "&gt;&gt;&gt; double(2)\n4" in plain
    assert "<code>x</code>" in html
    assert '<a href="https://doi.org/10.1000/182">doi:10.1000/182</a>.' in html
    assert "<p>x: a number &lt; 3.</p><p>Raises TypeError for text.</p>" in html


def test_a_module_lists_what_has_no_example_and_points_to_what_stands_above(toy):
    html = page.reference(toy[1]).data
    assert 'id="room.Box"' in html
    assert "<code>.open</code>: What is inside." in html
    assert "<code>sl.room.brief</code>: Without an example." in html
    assert '<a href="#double">' in html
    assert 'id="room.double"' not in html
    assert "<li><code>sl.room.CONSTANT</code></li>" in html
    assert "<code>sl.room.Named</code>: <code>dict[str, int]</code>." in html


def test_an_example_that_is_not_true_makes_no_page(toy):
    package, module = toy
    with pytest.raises(ValueError, match=r"sl.room.brief needs an example"):
        page.reference(module, "brief")
    module.double.__doc__ = "Twice.\n\n>>> double(2)\n5\n"
    with pytest.raises(ValueError, match=r"sl.double says that .* prints '5.n'; it prints '4"):
        page.reference(package, "double")
    module.double.__doc__ = "Twice.\n\n>>> double(2) / 0\n5\n"
    with pytest.raises(ValueError, match=r"sl.double fails at"):
        page.reference(package, "double")


def test_an_example_may_draw_and_may_stand_alone(toy):
    toy[
        1
    ].double.__doc__ = "A line.\n\n>>> import matplotlib.pyplot as plt\n>>> _ = plt.plot([1])\n"
    html = page.reference(toy[0], "double").data
    assert "<svg role=" in html
    assert 'aria-label="A line."' in html
    assert "from toy.room" in re.sub("<.*?>", "", page.example(toy[0]).data)


def test_the_library_page_shows_every_name_at_the_top_and_every_module():
    cells = nbformat.read(ROOT / "book/library.ipynb", 4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    calls = re.findall(r"page\.reference\(\s*sl(?:\.(\w+))?(.*?)\)", code, re.S)
    top = [name for _, names in calls for name in re.findall(r'"(\w+)"', names)]
    assert sorted(top) == sorted(name for name in sl.__all__ if callable(getattr(sl, name)))
    modules = [m.name for m in iter_modules(sl.__path__) if not m.name.startswith("_")]
    assert sorted(module for module, _ in calls if module) == sorted(modules)


def test_mode(monkeypatch):
    monkeypatch.delenv("BOOK_MODE", raising=False)
    assert page.by_mode(quick=1, full=2) == 1
    monkeypatch.setenv("BOOK_MODE", "full")
    assert page.by_mode(quick=1, full=2) == 2
    assert page.mode_note(trials=3) == "full mode: trials 3"
    monkeypatch.setenv("BOOK_MODE", "huge")
    with pytest.raises(ValueError, match="'quick', 'full'"):
        page.book_mode()


def test_lines_are_drawn_in_the_colours_of_the_page_and_maps_are_pictures():
    def figure(colour=sl.figures.TRUTH):
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot([0, 1], color=colour)
        ax.plot([1, 0], "--", color="black")
        ax.set_xlabel("time")
        return fig

    lines = page.show(figure(), alt="Lines.").data
    assert "<svg role=" in lines
    assert "currentColor" in lines
    assert "var(--c-truth, #0072b2)" in lines
    assert "#000000" not in lines
    assert lines == page.show(figure(), alt="Lines.").data
    names = [
        set(re.findall(r'id="([^"]+)"', page.show(figure(c), alt="Lines.").data))
        for c in ("#0072B2", "#D55E00")
    ]
    assert names[0].isdisjoint(names[1])  # two figures of a page share no id
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.imshow([[0, 1]])
    assert "image/webp" in page.show(fig, alt="A map.").data


def test_several_figures_are_panels_of_one():
    html = page.show((drawing(), drawing()), alt="Two.", caption="What to see: two.").data
    assert html.count("<svg role=") == 2
    assert html.count('<div class="panels">') == html.count("<figcaption") == 1
    assert not plt.get_fignums()


ROWS = [
    {"layer": "relu", "loss": 1.5e-7, "kept": True},
    {"layer": "$W$", "loss": -2.0, "kept": False},
    {"layer": "silu", "loss": float("nan"), "kept": None},
]


@pytest.mark.parametrize(
    ("value", "fmt", "expected"),
    [
        (-1.25, "{:.2f}", "−1.25"),
        (3.2e-13, "{:.1e}", "3.2·10⁻¹³"),
        (-6866.7, "{:,.3g}", "−6.87·10³"),
        (1.0, "{:.1e}", "1.0·10⁰"),
        (float("inf"), "{:.3g}", "∞"),
        (float("-inf"), "{:.3g}", "−∞"),
    ],
)
def test_a_number_as_a_reader_meets_it(value, fmt, expected):
    assert page.written(value, fmt) == expected


def test_a_table_writes_numbers_and_marks_the_best():
    html = page.table(ROWS, best={"loss": "min"}, caption="The loss $L$").data
    assert "1.5·10⁻⁷" in html
    assert '<td class="n best" data-value="-2">−2</td>' in html
    assert html.count('<td class="n">–</td>') == 1
    assert "<td>yes</td>" in html
    assert "\\(W\\)" in html
    assert "sortable" not in html
    assert "sortable" in page.table(ROWS * 3).data
    assert "rgba(0, 158, 115, 0.45)" in page.table(ROWS, heat=["loss"]).data
    assert "n fail" in page.table(ROWS, marks={"loss": lambda v: "fail" if v < 0 else None}).data


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "at least one row"),
        ([{"a": 1}, {"b": 2}], {}, "same columns"),
        ([{"a": 1}], {"best": {"c": "min"}}, "unknown column 'c'"),
    ],
)
def test_a_table_refuses(rows, options, message):
    with pytest.raises(ValueError, match=message):
        page.table(rows, **options)


def test_the_bars_of_the_sines_are_in_order():
    ax = page.plot_sines([0.1, 0.9, 0.5], ax=plt.subplots()[1])
    assert [bar.get_width() for bar in ax.patches[3:]] == [0.9, 0.5, 0.1]
    plt.close("all")

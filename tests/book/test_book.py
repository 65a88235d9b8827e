"""The built pages in a real browser."""

import io
from functools import cache
from urllib.parse import urlsplit

import pytest
from pages import NAMES, PAGES, opening

from evidence import number

pytestmark = [pytest.mark.browser]
FRONT = ("book/intro.html", "book/laboratory.html")  # a bench across the page, with a line above
SEARCH = "input[type=search]:visible:not(article *), .search-button__button:visible"


@pytest.fixture(scope="module", params=NAMES or ["not built"])
def name(request):
    """All tests of a page come together: it is opened once."""
    return request.param


@pytest.fixture(scope="module")
def opened(browser, address, name):
    with opening(browser, address) as open_page:
        yield open_page(name, width=WIDTHS[0])


@pytest.fixture
def page(opened):
    """As it is on a screen, wide and light, whatever the test before left."""
    opened.emulate_media(media="screen", color_scheme="light")
    opened.set_viewport_size({"width": WIDTHS[0], "height": 900})
    return opened


def test_page_is_whole(page, name):
    text = page.inner_text("article")
    assert "$$" not in text
    assert "{ref}" not in text
    assert ":::" not in text
    assert page.locator("mjx-merror, mjx-container [data-mjx-error]").count() == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator(SEARCH).count() <= 1
    assert page.locator("img[src*='_images/']").count() == 0, "a figure shown where it was made"
    assert (PAGES / name).stat().st_size < 3_000_000
    if "$" in text:
        assert page.locator("article span.math:not(:has(mjx-container))").count() == 0


# What is wider than its box. Formulas, tables and columns may scroll in theirs on a phone.
CUT = """([narrow]) => { const SCROLLS = "div.math, div.table, table, .columns pre";
  return [...document.querySelectorAll(
  "article :is(pre, table, div.table, div.math, img, svg, figure, p, h1, h2, h3, li, blockquote)")]
  .filter((e) => e.checkVisibility() && e.clientWidth && e.scrollWidth > e.clientWidth + 2)
  .filter((e) => !(narrow && (e.matches(SCROLLS) || e.querySelector(SCROLLS))))
  .map((e) => `${e.tagName} +${e.scrollWidth - e.clientWidth}: ${e.innerText.slice(0, 60)}`); }"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STARTS = "all => all.map(e => e.scrollLeft)"  # a wide equation opens at its left end
WIDTHS = (1440, 1280, 1200, 1024, 768, 390, 320)  # 1200: the narrowest column
# Formulas in a line that end to the right of it: on a phone the end of a sentence would be lost.
LONG = """[...document.querySelectorAll("article mjx-container:not([display=true])")]
  .filter((e) => e.checkVisibility() && !e.closest("table, div.math, figure")).map((e) => {
    let box = e.parentElement;
    while (getComputedStyle(box).display.startsWith("inline")) box = box.parentElement;
    const signs = [...e.querySelectorAll("mjx-c")].map((c) => c.getBoundingClientRect().right);
    const room = box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight);
    return [Math.max(0, ...signs) - room, box.innerText.slice(0, 60)]; })
  .filter(([over]) => over > 3)"""
PAPER = 589  # CSS pixels between the margins of A4


def test_nothing_is_cut_on_any_width_or_paper(page, name):
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        cut = page.evaluate(CUT, [width < 480])
        sideways = page.evaluate(SIDEWAYS)
        starts = set(page.eval_on_selector_all("div.math, mjx-container[display=true]", STARTS))
        assert starts <= {0}
        cut += page.evaluate(LONG) if width == 390 else []
        if cut or sideways > 0:
            found[width] = (sideways, cut)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 900})
    if cut := page.evaluate(CUT, [False]):
        found["print"] = cut
    controls = "article :is(button:not(th > button), input, select, details.code):visible"
    shown = page.locator(controls).count()
    assert found == {}
    assert shown == 0, "controls are printed"


OUTSIDE = """() => { const walker = document.createTreeWalker(
  document.querySelector("article"), NodeFilter.SHOW_TEXT), out = [];
  while (walker.nextNode()) { const e = walker.currentNode.parentElement;
    if (!e.closest("a, pre, code, script, style, h1, h2, h3, h4, summary, svg, button, .fx")
      && !e.closest("mjx-container")) out.push(walker.currentNode.data); }
  return out; }"""


@cache
def source(name):
    return (PAGES / name).read_text(encoding="utf-8")


def test_every_mention_is_a_link_that_shows_its_target(page, name):
    plain = [text for text in page.evaluate(OUTSIDE) if any(number.mentions(text))]
    assert plain == []
    links = page.locator("article a.mention")
    for href in set(links.evaluate_all("all => all.map(a => a.href)")):
        path, _, anchor = href.partition("#")
        assert not anchor or f'id="{anchor}"' in source(path.split("/", 3)[3]), href
    seen = page.locator("article a.mention:visible")
    if seen.count():
        seen.first.focus()
        box = page.locator(".mention-box")
        box.wait_for(timeout=5000)
        assert len(box.inner_text()) > 20
        page.keyboard.press("Escape")
        assert box.count() == 0


def test_the_text_is_in_front_and_code_out_of_the_way(page, name):
    prose = "all => all.filter(e => e.checkVisibility()).map(e => e.clientWidth)"
    if name not in FRONT:
        assert max(page.eval_on_selector_all("article section > p", prose), default=0) <= 661
    assert page.locator("article :is(mjx-container, mjx-container *)[tabindex]").count() == 0
    assert page.locator(".exercise-outcome").count() == 0
    neighbours = "article div.cell:has(> details.code):not(:has(.cell_output))"
    assert page.locator(f"{neighbours} + {neighbours}").count() == 0, "two folds in a row"


# Each control of a picture: how to set it to each of its positions, and the words for them.
CONTROLS = """root => [...root.querySelectorAll(".fx-row")].map((row) => {
  const range = row.querySelector("input[type=range]"), list = row.querySelector("select");
  return range ? +range.max + 1 : list ? list.options.length
    : row.querySelectorAll("input").length; })"""


def test_every_position_of_a_control_changes_picture_and_text(page):
    for box in page.locator(".fx").all():
        picture = box.locator("> img")
        for row, count in zip(box.locator(".fx-row").all(), box.evaluate(CONTROLS), strict=True):
            seen = set()
            for position in range(count):
                words = put(row, position)
                assert words in picture.get_attribute("alt")
                seen.add(picture.get_attribute("src"))
            assert len(seen) == count, "a position without effect"
        reset = box.locator(".fx-reset")
        if reset.is_enabled():
            reset.click()
        assert reset.is_disabled()


def put(row, position):
    """A control moved by the keyboard, and what it says then."""
    if (slider := row.locator("input[type=range]")).count():
        slider.press("Home" if position == 0 else "ArrowRight")
        assert slider.input_value() == str(position)
        return slider.get_attribute("aria-valuetext")
    if (choice := row.locator("select")).count():
        choice.select_option(str(position))
        return choice.locator("option").nth(position).inner_text()
    button = row.locator("input").nth(position)
    button.press("Space")
    assert button.is_checked()
    return row.locator("span").nth(position).inner_text()


def test_links_between_pages_resolve(page):
    links = page.eval_on_selector_all("article a[href], nav a[href]", "all => all.map(a => a.href)")
    local = {urlsplit(link).path for link in links if "127.0.0.1" in link}
    assert [path for path in local if not (PAGES / path.lstrip("/")).exists()] == []


# Drawings are images to axe; all code, and all formulas, have the same colours: looked at once, on
# the first page. A formula that heads a column may be all that its button says. Of plain texts that
# look the same (colour, ground, size, weight) one is measured; names of things stay as they are.
THIN = """() => { const article = document.querySelector("article");
  article.querySelectorAll("svg[role=img][aria-label]").forEach((e) => e.replaceChildren());
  document.querySelectorAll(".highlight pre").forEach((e) => { e.textContent = "code"; });
  article.querySelectorAll("mjx-container:not(th mjx-container)")
    .forEach((e) => { e.textContent = "formula"; });
  const known = new Map([[null, ""]]), ground = (e) => { if (!known.has(e)) {
    const s = getComputedStyle(e), own = [s.backgroundColor, s.backgroundImage, s.opacity];
    known.set(e, ground(e.parentElement) + own); } return known.get(e); };
  const NAMES = "a, button, label, legend, summary, option, h1, h2, h3, h4, th, dt, figcaption";
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT), seen = new Set();
  const repeated = [];
  while (walker.nextNode()) { const e = walker.currentNode.parentElement;
    if (e.closest(NAMES) || !walker.currentNode.data.trim()) continue;
    const s = getComputedStyle(e);
    const look = [s.color, s.fontSize, s.fontWeight, e.checkVisibility(), ground(e)].join("|");
    seen.has(look) ? repeated.push(walker.currentNode) : seen.add(look); }
  repeated.forEach((text) => { text.data = " "; }); }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(page, name, scheme):
    """Last of a page's tests: it takes away what would be looked at on every page."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=scheme)
    options = {"preload": False, "resultTypes": ["violations"]}
    if name != NAMES[0]:
        page.evaluate(THIN)
        options |= {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    found = Axe().run(page, options=options).response["violations"]
    serious = [
        (v["id"], [node["html"][:120] for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_thinned_pages_lose_no_pale_text(visit):
    """A control: what is drawn twice is measured once, and what is pale is found."""
    from axe_playwright_python.sync_playwright import Axe

    page = visit("book/about.html")
    pale = "<p style='color: #bbb'>pale</p><p style='color: #bbb'>as pale</p>"
    page.locator("article").evaluate(f"e => e.insertAdjacentHTML('beforeend', `{pale}`)")
    page.evaluate(THIN)
    (found,) = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    assert len(found["nodes"]) == 1
    assert "pale" in found["nodes"][0]["html"]


def test_a_picture_stands_on_the_ground_of_the_page(visit):
    """In the dark as well: a heat map is no white plate."""
    from PIL import Image

    for scheme in ("light", "dark"):
        page = visit("book/02_projector.html", scheme=scheme)
        page.wait_for_function(
            "theme => document.documentElement.dataset.theme === theme", arg=scheme
        )
        picture = page.locator("article img.dark-light").first
        corner = Image.open(io.BytesIO(picture.screenshot())).convert("RGB").getpixel((3, 3))
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == f"rgb{corner}", scheme


def test_the_search_finds_a_statement_where_it_stands(visit):
    lemma = next(t for t in number.targets() if t.kind == "Lemma")
    page = visit(f"search.html?q=Lemma+{lemma.number}")
    first = page.locator("#search-results li a").first
    first.wait_for(timeout=20_000)
    page.wait_for_function("!/Searching/.test(document.querySelector('#search-results').innerText)")
    assert first.get_attribute("href").split("#")[-1] == lemma.anchor


def test_the_index_has_every_statement_and_word_by_name(visit):
    page = visit("genindex.html")
    shown = page.inner_text("article")
    links = page.eval_on_selector_all("article a[href*='book/']", "all => all.map(a => a.href)")
    for target in number.targets():
        if target.kind not in ("Chapter", "Equation", "Exercise") and target.title:
            assert f"{target.kind} {target.number}" in shown
    assert sum("glossary.html#word-" in link for link in links) > 20
    path, _, anchor = links[0].partition("#")
    assert f'id="{anchor}"' in (PAGES / urlsplit(path).path.lstrip("/")).read_text("utf-8")

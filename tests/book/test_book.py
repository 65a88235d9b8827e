"""The built pages in a real browser."""

import io
from functools import cache
from urllib.parse import urlsplit

import pytest
from pages import NAMES, PAGES, opening

from evidence import number

pytestmark = [pytest.mark.browser]
FRONT = ("book/intro.html", "book/laboratory.html")  # a bench across the page, with a line above
WIDE = 1440
SEARCH = "input[type=search]:visible:not(article *), .search-button__button:visible"


@pytest.fixture(scope="module", params=NAMES or ["not built"])
def name(request):
    """All tests of a page come together: it is opened once."""
    return request.param


@pytest.fixture(scope="module")
def opened(browser, address, name):
    with opening(browser, address) as open_page:
        yield open_page(name, width=WIDE)


@pytest.fixture
def page(opened):
    """As it is on a screen, wide and light, whatever the test before left."""
    return on_screen(opened)


def on_screen(page):
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": WIDE, "height": 900})
    return page


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


SHOWN = "box => { const { alt, src } = box.querySelector('img'); return [alt, src]; }"


def test_every_position_of_a_control_changes_picture_and_text(page):
    for box in page.locator(".fx").all():
        for row, count in zip(box.locator(".fx-row").all(), box.evaluate(CONTROLS), strict=True):
            seen = set()
            for position in range(count):
                words = put(row, position)
                alt, picture = box.evaluate(SHOWN)
                assert words in alt
                seen.add(picture)
            assert len(seen) == count, "a position without effect"
        reset = box.locator(".fx-reset")
        if reset.is_enabled():
            reset.click()
        assert reset.is_disabled()


def put(row, position):
    """A control moved by the keyboard, and what it says then."""
    if (slider := row.locator("input[type=range]")).count():
        if position == 0:
            slider.focus()
        row.page.keyboard.press("Home" if position == 0 else "ArrowRight")
        value, words = slider.evaluate("e => [e.value, e.getAttribute('aria-valuetext')]")
        assert value == str(position)
        return words
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


# What is wider than its box. Formulas, tables and columns may scroll in theirs on a phone.
CUT = """([narrow]) => { const SCROLLS = "div.math, div.table, table, .columns pre";
  return [...document.querySelectorAll(
  "article :is(pre, table, div.table, div.math, img, svg, figure, p, h1, h2, h3, li, blockquote)")]
  .filter((e) => e.checkVisibility() && e.clientWidth && e.scrollWidth > e.clientWidth + 2)
  .filter((e) => !(narrow && (e.matches(SCROLLS) || e.querySelector(SCROLLS))))
  .map((e) => `${e.tagName} +${e.scrollWidth - e.clientWidth}: ${e.innerText.slice(0, 60)}`); }"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STARTS = "all => all.map(e => e.scrollLeft)"  # a wide equation opens at its left end
THEME = "theme => { document.documentElement.dataset.theme = theme; }"  # no frame is drawn for it
WIDTHS = (1440, 1280, 1200, 1024, 768, 390, 320)  # 1200: the narrowest column
SCREENS = [*((width, "light") for width in WIDTHS), (390, "dark"), (1440, "dark")]
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
    for width, theme in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(THEME, theme)
        cut = page.evaluate(CUT, [width < 480])
        sideways = page.evaluate(SIDEWAYS)
        starts = set(page.eval_on_selector_all("div.math, mjx-container[display=true]", STARTS))
        assert starts <= {0}
        cut += page.evaluate(LONG) if (width, theme) == (390, "light") else []
        if cut or sideways > 0:
            found[width, theme] = (sideways, cut)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 900})
    if cut := page.evaluate(CUT, [False]):
        found["print"] = cut
    controls = "article :is(button:not(th > button), input, select, details.code):visible"
    shown = page.locator(controls).count()
    assert found == {}
    assert shown == 0, "controls are printed"


# Drawings are images to axe; all code, and all formulas, have the same colours: looked at once, on
# the first page. A formula that heads a column may be all that its button says.
THIN = """() => { const article = document.querySelector("article");
  article.querySelectorAll("svg[role=img][aria-label]").forEach((e) => e.replaceChildren());
  document.querySelectorAll(".highlight pre").forEach((e) => { e.textContent = "code"; });
  article.querySelectorAll("mjx-container:not(th mjx-container)")
    .forEach((e) => e.replaceWith("formula")); }"""
TEXTS = """const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.trim()) texts.push(walker.currentNode);"""
# How each text looks, in the dark and in the light: colour, size, weight, what lies below it.
LOOK = f"""() => {{ {TEXTS}
  const known = new Map([[null, ""]]), ground = (e) => {{ if (!known.has(e)) {{
    const s = getComputedStyle(e), own = [s.backgroundColor, s.backgroundImage, s.opacity];
    known.set(e, ground(e.parentElement) + own); }} return known.get(e); }};
  for (const text of texts) {{ const e = text.parentElement, s = getComputedStyle(e);
    const look = [s.color, s.fontSize, s.fontWeight, e.checkVisibility(), ground(e)];
    text.look = (text.look ?? "") + look; }} }}"""
# Of texts that look the same one is left, and what stands around it: a link in its sentence. Rows
# stay, as they have stripes, and so does a bench, which needs its parts.
ONE_OF_EACH = f"""() => {{ {TEXTS}
  const seen = new Set(), keep = new Set();
  const up = (e) => {{ for (; e; e = e.parentElement) keep.add(e); }};
  document.querySelectorAll("style, .hero *, .wb *").forEach(up);
  for (const text of texts) {{ const e = text.parentElement;
    if (seen.has(text.look) || e.matches("style")) continue;
    seen.add(text.look);
    const sentence = e.closest("a")?.closest("p, li");
    for (const near of texts) if (near === text || sentence?.contains(near)) {{
      keep.add(near); up(near.parentElement); }} }}
  for (const text of texts) keep.has(text) || text.parentElement.matches("style")
    || (text.data = " ");
  document.body.querySelectorAll(":not(tr)").forEach((e) => keep.has(e) || e.remove()); }}"""
COLOURS = ["color-contrast", "link-in-text-block"]


def in_scheme(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=scheme)


def serious(page, **options):
    """What axe finds: the rule and the first places."""
    from axe_playwright_python.sync_playwright import Axe

    options |= {"preload": False, "resultTypes": ["violations"]}
    axe = Axe("") if page.evaluate("'axe' in window") else Axe()  # a page takes it in once
    return [
        (v["id"], [node["html"][:120] for node in v["nodes"]][:3])
        for v in axe.run(page, options=options).response["violations"]
        if v["impact"] in ("serious", "critical")
    ]


def test_no_serious_accessibility_violation(opened, name):
    """Last of a page's tests: it takes away what would be looked at on every page."""
    found = {}
    if name == NAMES[0]:
        found["as it is"] = serious(on_screen(opened))
        in_scheme(opened, "dark")
        found["as it is, in the dark"] = serious(opened, runOnly=COLOURS)
    opened.evaluate(THIN)
    page = on_screen(opened)  # only now: laid out once more, it is small
    for scheme in ("dark", "light"):
        page.evaluate(THEME, scheme)
        page.evaluate(LOOK)
    found["structure"] = serious(page, rules={rule: {"enabled": False} for rule in COLOURS})
    page.evaluate(ONE_OF_EACH)
    for scheme in ("light", "dark"):
        page.evaluate(THEME, scheme)
        found[scheme] = serious(page, runOnly=COLOURS)
    assert not any(found.values()), found


ODD = """<style>html[data-theme=light] .day { color: #bbb }
  html[data-theme=dark] .night { color: #444 }
  a.plain { color: #444 !important; text-decoration: none !important }
  html[data-theme=dark] a.plain { color: #aaa !important }</style>
  <p class="day">by day</p><p class="day">as pale</p><p class="night">by night</p>
  <p>In a sentence of its own a <a class="plain" href="#">word</a> leads on.</p>"""


def test_of_texts_that_look_alike_one_is_measured(visit):
    """A control: what is pale in one theme only is found once, and a link that looks like text."""
    page = visit("book/about.html")
    page.locator("article").evaluate("(e, odd) => e.insertAdjacentHTML('beforeend', odd)", ODD)
    for scheme in ("dark", "light"):
        page.evaluate(THEME, scheme)
        page.evaluate(LOOK)
    page.evaluate(ONE_OF_EACH)
    for scheme, words in (("light", "by day"), ("dark", "by night")):
        page.evaluate(THEME, scheme)
        found = dict(serious(page, runOnly=COLOURS))
        assert set(found) == set(COLOURS)
        assert [words in place for place in found[COLOURS[0]]] == [True]
        assert ["plain" in place for place in found[COLOURS[1]]] == [True]


def test_a_picture_stands_on_the_ground_of_the_page(visit):
    """In the dark as well: a heat map is no white plate."""
    from PIL import Image

    page = visit("book/02_projector.html")
    for scheme in ("light", "dark"):
        in_scheme(page, scheme)
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

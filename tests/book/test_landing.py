"""The first page: a live figure, doors, verdicts, findings; in a browser and without scripts."""

import os
import re

import numpy as np
import pytest
import torch
from chapters import ROOT
from notebooks import KERNEL
from pages import PAGES

import evidence
import subspace_lib as sl
from evidence import laboratory as lab
from evidence.setting import follow, paper_data
from page import front

NAME, LEDGER = "book/intro.html", re.compile(r"ledger\.html#verdict=(\w+)$")
browser_test = pytest.mark.browser
LAYERS = ("data", "linear", "relu", "train")
STATE = "document.querySelector('.hero').dataset.state"
DONE = f"([layer, rank]) => {STATE} === `${{layer}} ${{rank}} done`"
MOVE = "e => { e.value = 5; e.dispatchEvent(new Event('input')); }"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
INSIDE = """all => all.every((text) => {
  const box = text.getBBox(); return box.x >= 0 && box.x + box.width <= 120; })"""


@pytest.fixture
def front_page(visit):
    def open_front(**options):
        page = visit(NAME, **{"width": 1440, **options})
        if options.get("scripts", True):
            page.wait_for_selector(".hero.live[data-state]")
        return page

    return open_front


def choose(page, layer=None, rank="r"):
    """Press the buttons, wait until the figure has settled; what it shows then."""
    if layer:
        page.click(f"[data-layer={layer}]")
    page.click(f"[data-rank={rank}]")
    now = layer or page.get_attribute(".hero", "data-state").split()[0]
    page.wait_for_function(DONE, arg=[now, rank], timeout=60_000)
    return seen(page)


def seen(page):
    kept, found, steps = page.locator(".hero-numbers dd").all_inner_texts()
    said = page.locator(".hero-say > span:visible")
    assert said.count() == 1
    picture = page.eval_on_selector(".hero-canvas", "canvas => canvas.toDataURL()")
    return int(kept.split()[0]), int(found.split()[0]), steps, said.inner_text(), picture


@browser_test
def test_every_state_has_its_picture_numbers_and_sentence(front_page):
    page = front_page()
    states = {}
    for layer in LAYERS:
        for rank in ("r", "more"):
            states[layer, rank] = choose(page, layer, rank)
            assert page.locator(".hero-say > span:visible a.mention").count() == 1
    assert len({picture for *_, picture in states.values()}) == len(states)
    assert len({said for *_, said, _ in states.values()}) == len(states)
    assert states["train", "r"][2] == states["train", "more"][2] == "1000"
    assert "Moved, not gone" in states["train", "more"][3]
    page.eval_on_selector("#hero-slider", MOVE)
    kept, _, _, said, _ = choose(page, "data")
    assert kept < states["data", "r"][0]
    assert said != states["data", "r"][3]
    assert page.inner_text(".hero-noise") == "320 % of the signal"


@browser_test
def test_the_figure_ends_where_the_library_does(front_page):
    """The same data, start and rates as the laboratory's first trial."""
    first = lab.Config(trials=1)
    data, setting = paper_data(first, 0.01), {"depth": 1, "activation": "relu", "bias": True}
    network = lab.network_for(first, setting)
    options = {"init": "usual", "optimizer": "adam", "lr": first.adam, "normalize": "data"}
    begin, end = follow(network, data, (0, 1000), first.seed + 2, **options)
    clean = sl.row_basis(data.clean, data.rank)

    def kept(Y):
        found = lab.describe(Y, Y, clean, data.labels, data.rank)
        return [100 * float(found[k]) for k in ("share_r", "share_r1", "accuracy")]

    layers = {"data": data.X.double()}
    for when, at in (("relu", begin), ("train", end)):
        params = {name: p.double() for name, p in at.params.items()}
        layers[when] = network.layers(params, data.X.double())[0].post
    page = front_page()
    for layer, Y in layers.items():
        shown = [choose(page, layer, rank) for rank in ("r", "more")]
        share_r, share_r1, accuracy = kept(Y)
        np.testing.assert_allclose([s[0] for s in shown], [share_r, share_r1], atol=1)
        assert abs(shown[1][1] - accuracy) <= 6, layer  # k-means from other starts


@browser_test
def test_it_works_by_keyboard_alone(front_page):
    page = front_page()

    def tab_to(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        pytest.fail(f"{selector} cannot be reached")

    page.evaluate("document.querySelector('.hero button').focus()")
    tab_to("[data-layer=train]")
    page.keyboard.press("Enter")
    page.wait_for_function(DONE, arg=["train", "r"], timeout=60_000)
    tab_to("#hero-slider")
    before = page.get_attribute("#hero-slider", "aria-valuetext")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('.hero-noise').value !== '{before}'")
    tab_to("[data-rank=more]")
    page.keyboard.press("Space")
    page.wait_for_function(DONE, arg=["train", "more"], timeout=60_000)
    assert seen(page)[0] >= 95
    tab_to(".doors a")
    tab_to(".tiles a")


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height", "screens"), [(1440, 900, 1), (390, 844, 1.5)])
def test_the_front_fits_its_screens_and_a_finger(front_page, scheme, width, height, screens):
    page = front_page(width=width, height=height, scheme=scheme)
    box = page.locator(".tiles").bounding_box()
    assert box["y"] + box["height"] <= screens * height
    touched = page.locator(":is(.hero button, .hero input, .doors a, .tiles a)")
    for one in touched.all():
        size = one.bounding_box()
        assert size["height"] >= 44
        assert size["x"] >= 0
        assert size["x"] + size["width"] <= width
    colour = page.eval_on_selector(".hero-canvas", "e => getComputedStyle(e).color")
    assert (colour == "rgb(0, 114, 178)") == (scheme == "light")
    assert choose(page, "train", "more")[0] >= 95


GAPS = """() => new Promise((done) => {
  const gaps = [], state = document.querySelector('.hero').dataset;
  let last = performance.now(), began = false;
  (function frame(now) {
    gaps.push(now - last); last = now; began ||= state.state.includes("running");
    if (began && state.state.includes("done")) done(gaps); else requestAnimationFrame(frame);
  })(last); })"""


@browser_test
def test_the_page_stays_responsive_while_it_trains(front_page):
    """The best of five runs: what else wants the processor is not the page's doing."""
    middles = []
    while len(middles) < 5 and min(middles, default=np.inf) > 50:  # ms; a long task has more
        page = front_page(motion="no-preference")
        page.click("[data-layer=train]")
        gaps = page.evaluate(GAPS)
        assert page.inner_text(".hero-steps") == "1000"
        assert len(gaps) > 10
        middles.append(round(np.median(gaps)))  # three frames are 50.0 or nearly
    assert min(middles) <= 50, middles


@browser_test
def test_a_choice_overtakes_a_run(front_page):
    page = front_page()
    page.click("[data-layer=train]")
    page.wait_for_timeout(250)
    assert choose(page, "data")[2] == "–"
    page.wait_for_timeout(500)
    assert page.get_attribute(".hero", "data-state") == "data r done"


@browser_test
def test_without_scripts_the_opening_state_is_there(front_page):
    page = front_page(scripts=False)
    assert page.locator(".hero-picture img").bounding_box()["width"] > 200
    assert not page.locator(".hero-controls").is_visible()
    assert page.locator(".hero-say > span:visible").count() == 1
    assert "%" in page.inner_text(".hero-kept")
    assert page.locator(".doors a:visible").count() == 4


@browser_test
def test_the_static_picture_is_the_live_ones_opening_state(front_page):
    page = front_page()
    gap = page.evaluate("""async () => {
        const image = document.querySelector(".hero-picture img");
        const canvas = document.querySelector(".hero-canvas");
        const other = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
        await image.decode(); other.drawImage(image, 0, 0);
        const read = (c) => c.getImageData(0, 0, canvas.width, canvas.height).data;
        const a = read(other), b = read(canvas.getContext("2d"));
        let most = 0;
        for (let i = 3; i < a.length; i += 4) most = Math.max(most, Math.abs(a[i] - b[i]));
        return most; }""")
    assert gap <= 2


@browser_test
def test_no_code_and_little_weight(front_page):
    page = front_page()
    assert page.locator("article :is(.cell_input, pre, details.code)").count() == 0
    assert (PAGES / NAME).stat().st_size < 300_000
    paints = []
    for _ in range(3):
        page.reload(wait_until="load")
        page.wait_for_selector(".hero.live[data-state]")
        paints.append(page.evaluate(PAINT))
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # what waits for a core is not ours
    assert min(paints) < 1000 * busy
    assert page.locator("article h1").count() == 1


@browser_test
def test_it_works_from_disk(browser):
    """As the README says: open the file."""
    page, troubles = browser.new_page(reduced_motion="reduce"), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto((PAGES / NAME).as_uri())
    page.wait_for_selector(".hero.live[data-state]")
    assert choose(page, "train", "more")[2] == "1000"
    page.close()
    assert troubles == []


@browser_test
def test_the_tiles_are_the_ledgers(front_page):
    page, counts = front_page(), evidence.ledger().counts()
    shown = {}
    for tile in page.locator(".tiles a").all():
        kind = LEDGER.search(tile.get_attribute("href"))[1]
        shown[kind] = int(tile.locator("b").inner_text())
    kinds = {front.SIGNS[verdict][0]: count for verdict, count in counts.items() if count}
    assert shown == kinds
    kind = next(iter(shown))
    page.click(f".tiles .{kind}")
    page.wait_for_load_state()
    visible = page.locator(f"article [data-verdict={kind}]:is(article, li, section, div):visible")
    assert visible.count() >= shown[kind]


@browser_test
def test_cards_are_short_and_lead_to_a_chapter(front_page):
    page = front_page()
    cards = page.locator(".cards li").all()
    assert len(cards) >= 7
    for card in cards:
        assert len(card.locator("p").inner_text().split()) <= 25
        assert card.locator("svg[aria-label]").count() == 1
        assert card.locator("a.mention").count() == 1
        assert card.locator("svg text").evaluate_all(INSIDE)


def test_a_bundle_is_one_script(tmp_path):
    one = "export const one = 1;\nexport function two() { return one + 1; }\n"
    three = 'import { one, two as pair } from "./a.js";\nconst two = 2;\n'
    (tmp_path / "a.js").write_text(one)
    (tmp_path / "b.js").write_text(f"{three}export const sum = one + pair() + two;\n")
    text = front.bundle(tmp_path / "b.js", "sum")
    assert "import" not in text
    assert "export" not in text
    assert "{ one, two: pair } = m0" in text


def test_what_the_script_is_given_comes_back():
    A = torch.arange(6.0).reshape(2, 3) / 7
    given = front.packed(A)
    assert (given["rows"], given["cols"]) == (2, 3)
    assert front.packed(A[0])["cols"] == 1  # a bias is a column
    assert "a &lt; b" in front.doors({"a < b": "x.html"}).data


def test_the_front_is_a_notebook_without_visible_code():
    import nbformat

    nb = nbformat.read(ROOT / "book/intro.ipynb", 4)
    assert nb.metadata.kernelspec == KERNEL
    code = [cell for cell in nb.cells[2:] if cell.cell_type == "code"]
    assert all("remove-input" in cell.metadata.tags for cell in code)

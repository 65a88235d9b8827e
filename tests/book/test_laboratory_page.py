"""The laboratory in a real browser: it trains, remembers, asks and compares."""

import itertools

import numpy as np
import pytest

import evidence
from evidence import workbench

NAME = "book/laboratory.html"
STORED = evidence.load_result("laboratory")
pytestmark = [pytest.mark.browser]


@pytest.fixture
def bench(visit):
    def open_bench(query="", **options):
        page = visit(NAME + query, **options)
        page.wait_for_selector(".wb.live[data-mode]")
        page.wait_for_function("document.querySelector('.wb-sine').textContent")
        return page

    return open_bench


def press(page, kind):
    page.click(f".wb-{kind}")


def step(page):
    return int(page.get_attribute(".wb", "data-step"))


def choose(page, key, k):
    page.locator(f"[data-axis={key}] input").nth(k).check(force=True)


def slide(page, key, k):
    page.locator(f"[data-axis={key}] input").fill(str(k))


def until(page, mode="done"):
    page.wait_for_selector(f".wb[data-mode={mode}]", timeout=120_000)
    page.wait_for_timeout(150)  # the last frame is drawn in the next one


def numbers(page, name):
    cells = page.locator(f".wb tr[data-row={name}] td").all_inner_texts()
    return [None if text == "–" else float(text) for text in cells]


WIDE = "e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bench_fits_in_both_themes(bench, scheme):
    page = bench(width=1440, scheme=scheme)
    page.evaluate("document.fonts.ready")
    bottom = page.locator(".wb-bench").evaluate("e => e.getBoundingClientRect().bottom")
    assert bottom < 900  # the first screen holds it all
    ground = page.locator(".wb-curves .tick").first.evaluate("e => getComputedStyle(e).fill")
    light = sum(int(v) for v in ground[4:-1].split(",")[:3]) > 380
    assert light == (scheme == "dark")
    for width in (1440, 1200, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        for kind in ("controls", "middle", "right"):
            assert not page.locator(f".wb-{kind}").evaluate(WIDE), (width, kind)
        small = page.locator(".wb button").evaluate_all("all => all.map(e => e.offsetHeight)")
        assert min(small) >= 24, width


def test_training_ends_where_the_stored_trial_does(bench):
    page = bench()
    assert step(page) == 0
    grown = "document.querySelector('.wb-curves .curve.r1').getAttribute('d').length"
    before = page.evaluate(grown)
    press(page, "go")
    until(page)
    assert page.evaluate(grown) > 20 * before
    assert step(page) == 1000
    run = STORED.at(**workbench.OPENING)
    for name in workbench.CURVES:
        now, _, eight = numbers(page, name)
        assert abs(now - run[name][-1, 0]) < 0.02
        assert abs(eight - np.median(run[name][-1])) < 0.006
    said = page.inner_text(".wb-said")
    assert said.startswith(f"Trained. In the top 7: {numbers(page, 'share_r1')[0]:.2f}")
    names = page.locator(".wb-curves .name").all_text_contents()
    assert sorted(n.split(" 0")[0] for n in names) == ["loss", "negative", "top 6", "top 7"]
    boxes = [page.locator(".wb-curves .name").nth(k).bounding_box() for k in range(4)]
    boxes.sort(key=lambda box: box["y"])
    for a, b in itertools.pairwise(boxes):
        assert b["y"] - a["y"] > 8  # direct labels do not lie on each other


def test_pause_step_go_and_restart(bench):
    page = bench()
    for k in (1, 2, 3):
        press(page, "one")
        page.wait_for_selector(f".wb[data-step='{k}']")
    press(page, "go")
    page.wait_for_function("+document.querySelector('.wb').dataset.step > 20")
    press(page, "go")
    page.wait_for_timeout(400)
    stands = step(page)
    page.wait_for_timeout(300)
    assert step(page) == stands
    press(page, "reset")
    page.wait_for_selector(".wb[data-step='0']")
    press(page, "go")
    until(page)
    assert page.inner_text(".wb-go") == "▶ Train again"


def test_the_last_setting_stays_as_a_ghost(bench):
    page = bench()
    press(page, "go")
    until(page)
    first = numbers(page, "share_r")[0]
    choose(page, "bias", 1)
    page.wait_for_selector(".wb[data-mode=going]")  # a move trains, once the reader has begun
    until(page)
    now, before, eight = numbers(page, "share_r")
    assert before == first
    assert (
        abs(eight - np.median(STORED.at(**workbench.OPENING | {"bias": False})["share_r"][-1]))
        < 0.006
    )
    assert now != before
    assert page.inner_text(".wb-before").endswith("before, with bias yes.")
    assert page.locator(".wb-curves .ghost").count() == 4
    assert page.locator(".wb-sines-r .ghost").count() == 6


def test_the_address_keeps_the_setting(bench):
    page = bench()
    choose(page, "activation", 1)
    slide(page, "depth", 2)
    slide(page, "noise", 6)
    press(page, "new")
    wanted = {"activation=gelu", "depth=3", "noise=0.5", "seed=2"}
    assert wanted <= set(page.url.split("?")[1].split("&"))
    again = bench("?" + page.url.split("?")[1])
    assert again.locator("[data-axis=activation] input").nth(1).is_checked()
    assert again.inner_text("[data-axis=depth] output") == "3"
    assert again.inner_text("[data-axis=noise] output") == "0.5"
    assert "Seed 2" in again.inner_text(".wb-draw")
    press(again, "opening")
    press(again, "first")
    assert "?" not in again.url
    strange = bench("?depth=99&bias=perhaps&seed=-3")
    assert strange.inner_text("[data-axis=depth] output") == "1"


def test_the_same_seed_repeats_and_a_new_one_does_not(bench):
    page = bench()
    start = numbers(page, "share_r1")[0]
    loss = numbers(page, "loss")[0]
    press(page, "new")
    page.wait_for_timeout(600)
    other = numbers(page, "loss")[0]
    assert other != loss
    press(page, "first")
    page.wait_for_timeout(600)
    assert numbers(page, "share_r1")[0] == start
    assert numbers(page, "loss")[0] == loss


def test_off_the_stored_grid_nothing_is_claimed(bench):
    page = bench("?noise=0.2")
    assert numbers(page, "certified") == [None, None, None]
    assert page.locator(".wb-curves .median").count() == 0


@pytest.mark.parametrize("q", [1, 6])
def test_a_prediction_is_held_and_compared(bench, q):
    page = bench(width=390 if q == 1 else 1200)
    card = page.locator(f"[data-question='{q}']")
    go = card.locator("button")
    assert go.is_disabled()
    card.locator("input").nth(0).check()
    page.reload()
    page.wait_for_selector(".wb.live")
    assert card.locator("input").nth(0).is_checked()
    assert go.is_enabled()
    go.click()
    card.locator(".wb-outcome", has_text="You predicted").wait_for(timeout=120_000)
    question = workbench.QUESTIONS[q]
    text = card.locator(".wb-outcome").inner_text()
    assert "This run: 0.9" in text
    assert "Median of 8 stored trials: 0.9" in text
    assert question.options[2] in text
    assert f"You predicted: {question.options[0]}." in text
    assert card.get_attribute("data-right") == "false"
    assert card.locator("details").get_attribute("open") is not None
    if q == 1:
        return
    card.locator("input").nth(2).check()
    go.click()
    card.locator(".wb-outcome", has_text="As you predicted.").wait_for(timeout=120_000)


def test_by_keyboard_alone(bench):
    page = bench()
    focused = """(document.activeElement.closest('[data-axis]')?.dataset.axis
      ?? document.activeElement.className)"""
    seen = []
    page.focus("[data-axis=activation] input")
    page.keyboard.press("ArrowRight")
    assert page.locator("[data-axis=activation] input").nth(1).is_checked()
    for _ in range(20):
        seen.append(page.evaluate(focused))
        if seen[-1] == "wb-go":
            break
        if seen[-1] == "depth":
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
    assert seen[-1] == "wb-go"
    assert {"activation", "init", "bias", "optimizer", "noise", "depth", "scale", "rate"} <= set(
        seen
    )
    assert page.inner_text("[data-axis=depth] output") == "2"
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    until(page)
    outline = page.locator(".wb-go").evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline != "none"


FRAMES = """() => new Promise((done) => {
  const gaps = [];
  let last = performance.now();
  const look = (now) => {
    gaps.push(now - last);
    last = now;
    if (document.querySelector('.wb').dataset.mode === 'done') done(gaps);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def training(page):
    """A run's gaps between frames, and its milliseconds of processor time for a drawn one."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy():
        found = session.send("Performance.getMetrics")["metrics"]
        return next(x["value"] for x in found if x["name"] == "TaskDuration")

    before = busy()
    press(page, "go")
    gaps = np.array(page.evaluate(FRAMES))
    drawn = page.evaluate("document.querySelector('.wb').dataset.drawn")
    return gaps, 1000 * (busy() - before) / int(drawn)


LONG = 50  # ms: what has more browsers call a long task, as a hand may feel it


def test_the_page_stays_at_the_readers_hand(bench):
    """What a page can do shows when nobody else wants the processor: the best of five runs."""
    for _ in range(5):
        gaps, each = training(bench("?activation=gelu&depth=2"))
        share = (gaps.round() <= LONG).mean()  # three frames are 50.0 or nearly
        print(f"{share:.0%} of {len(gaps)} gaps are short, {each:.0f} ms of work for a frame")
        if each <= LONG and share > 0.5:
            return
    pytest.fail("five runs held the page up")


def test_without_script_and_on_paper_there_is_a_picture(visit, bench):
    page = visit(NAME, scripts=False)
    assert page.locator(".wb-static figure").is_visible()
    assert not page.locator(".wb-bench").is_visible()
    assert page.locator(".wb-card details").count() == 7
    page = bench()
    page.emulate_media(media="print")
    assert page.locator(".wb-static figure").is_visible()
    assert not page.locator(".wb-bench").is_visible()

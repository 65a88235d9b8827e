"""The ledger's page in a real browser: filters, their state in the address, cards, paper."""

import re

import pytest

import evidence
from evidence.cards import look

pytestmark = [pytest.mark.browser]
PAGE = "book/ledger.html"
SHOWN = "all => all.filter(c => c.checkVisibility()).map(c => c.id)"


@pytest.fixture(scope="module")
def rows():
    return evidence.ledger().rows


def shown(page):
    return page.eval_on_selector_all(".card", SHOWN)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_tiles_count_and_filter_and_the_address_keeps_it(visit, rows, width, scheme):
    page = visit(PAGE, width=width, scheme=scheme)
    assert len(shown(page)) == len(rows)
    for tile in page.locator(".tile").all():
        kind = tile.get_attribute("data-verdict")
        wanted = [claim.id for claim, found in rows if look(found.verdict)[0] == kind]
        assert int(tile.locator("b").inner_text()) == len(wanted)
        tile.focus()
        page.keyboard.press("Enter")
        assert shown(page) == wanted
        assert tile.get_attribute("aria-pressed") == "true"
        assert page.url.endswith(f"#verdict={kind}")
        page.keyboard.press("Enter")
        assert len(shown(page)) == len(rows)


def test_chapter_text_and_half_size_narrow_down(visit, rows):
    page = visit(PAGE)
    page.select_option("[name=chapter]", "depth")
    assert shown(page) == [claim.id for claim, _ in rows if claim.topic == "depth"]
    page.fill("[name=text]", "union")
    assert shown(page) == ["depth-union-bound"]
    assert re.search(r"#chapter=depth&text=union$", page.url)
    page.click(".filters .all")
    page.check("[name=half]")
    differ = [c.id for c, whole, half in evidence.compare_sizes() if whole.verdict != half.verdict]
    assert shown(page) == differ
    assert page.locator(".card .differs:visible").count() == len(differ)


def test_an_address_opens_what_it_names(visit):
    page = visit(f"{PAGE}#verdict=fails&text=proof")
    assert shown(page) == ["denoising-proof"]
    page = visit(f"{PAGE}#linear-rank")
    assert page.locator("#linear-rank details").get_attribute("open") is not None
    page.get_by_text("Every statement").click()
    page.fill("[name=statement]", "7.1")
    found = page.locator("table.statements tbody tr:visible").all_inner_texts()
    assert found
    assert all("7.1" in text for text in found)


def test_it_is_short_and_its_cards_are_printed(visit, rows):
    page = visit(PAGE, width=1440)
    assert page.locator("article.bd-article").bounding_box()["height"] < 5000
    assert page.locator(".card mjx-container").count() > 20
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 589, "height": 900})
    assert page.locator(".card:visible").count() == len(rows)
    assert page.locator(".filters:visible, .card details:visible").count() == 0


def test_every_link_of_a_card_leads_somewhere(visit):
    page = visit(PAGE)
    links = set(page.eval_on_selector_all(".card a", "all => all.map(a => a.href)"))
    for link in links:
        path, _, anchor = link.partition("#")
        html = page.request.get(path).text()
        assert not anchor or f'id="{anchor}"' in html, link

"""Notation, glossary and bibliography are complete."""

import re

import pytest
from chapters import CHAPTERS, NOTEBOOKS, ROOT, text

from evidence import number
from subspace_lib.figures import MEANINGS

LINK = re.compile(r"\[[^\]]+\]\((https?://(?:[^()\s]|\([^()\s]*\))+)\)")


def page(name):
    return text(ROOT / f"book/{name}.ipynb")


def cited():
    """Address → the pages whose References give it."""
    found = {}
    for path in NOTEBOOKS:
        _, heading, body = text(path).partition("## References")
        for address in LINK.findall(body) if heading else ():
            found.setdefault(address, set()).add(path)
    return found


def test_the_bibliography_has_what_the_chapters_cite():
    lines = [line for line in page("bibliography").splitlines() if line.startswith("- ")]
    listed = {LINK.search(line)[1]: line for line in lines}
    assert set(listed) == set(cited())
    assert len(listed) == len(lines)


def test_the_bibliography_says_where():
    labels = {int(path.name[:2]): path for path in CHAPTERS}
    for line in page("bibliography").splitlines():
        if line.startswith("- "):
            address = LINK.search(line)[1]
            where = line[LINK.search(line).end() :]
            said = {labels[int(n)] for n in re.findall(r"\d+", where)}
            assert said == {path for path in cited()[address] if path in CHAPTERS}, line


def terms():
    return re.findall(r"^- \*\*(.+?)\.\*\* (.+)$", page("glossary"), re.M)


def test_the_glossary_is_in_order_and_each_term_has_a_place():
    words = [word for word, _ in terms()]
    assert words == sorted(set(words))
    assert len(words) >= 40
    for word, sentence in terms():
        there = number.mentions(sentence) or "ledger.ipynb" in sentence
        assert there, word


def test_the_glossary_has_every_definition():
    every = {t.number for t in number.targets() if t.kind == "Definition"}
    found = number.mentions(page("glossary"))
    assert every <= {n for m in found if m.kind == "Definition" for n in m.numbers}


@pytest.mark.parametrize(
    "word",
    [
        "certifies",
        "silent",
        "no gap",
        "holds",
        "holds under conditions",
        "fails",
        "vacuous",
        "undecided",
    ],
)
def test_the_notation_explains_the_words(word):
    assert f"**{word}**" in page("notation")


def test_the_notation_draws_every_colour():
    nb = (ROOT / "book/notation.ipynb").read_text(encoding="utf-8")
    assert all(f'\\"{name}\\":' in nb for name in MEANINGS)

"""``python -m evidence number [--check] [--toc FILE]``: numbers follow the table of contents.

The order of ``_toc.yml`` decides the numbers of chapters, the order of headings and equations in a
notebook the rest. The command renames notebooks (NN_topic.ipynb) and rewrites headings, tags,
exercises and every mention of them in all text files of the repository, at once, from one table
old → new; not in tests, which use slugs, nor in CHANGELOG.md and CONTRIBUTING.md, where numbers
are history or examples. Run again it changes nothing.

Move: change ``_toc.yml``, or carry cells elsewhere: a number is a key until the command runs.
Insert: give the new thing any number that nothing else has, such as its neighbour's with a letter
(``### Theorem 4.2a (Title)``, ``\\tag{4.3a}``, ``12a_gates.ipynb``), and mention it by that number.
A new notebook may also come without a number; it is a chapter if it holds a statement.
Remove: the mentions must go as well; while one has no target, nothing is rewritten.

A mention is a kind with its number ("Theorem 4.2", "Lemma 1.3 (b)"), a plural with a list or range
("Lemmas 4.1 and 4.2", "Theorems 8.4 to 8.6", "chapters 2, 11 and 16"), an equation in brackets
("(7.2)"), ``check("3.2"``, a notebook's name, the anchor of a heading. The kind belongs to the key:
if 4.1 is a lemma, "Theorem 4.1" has no target. The paper's numbers stay; they stand behind these
words: "the paper's Lemma 4.1". A list of chapters stays in order. A range whose members stay
together runs from the first to the last of them; any other keeps its two ends and is reported, to
be read again. Not seen: numbers without a kind ("see 4.2"), "the next chapter", the parts of the
book, figures (no text quotes their numbers), an order on which a sentence relies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOC = "_toc.yml"
TEXT = {".ipynb", ".py", ".md", ".yml", ".toml"}
SKIPPED = re.compile(
    r"\..*|_build|build|dist|results|tests|.+\.egg-info|CHANGELOG.md|CONTRIBUTING.md|number.py"
)
Files = dict[str, str]  # path from the root of the repository → text
Key = tuple[str, str]  # what counts it, and its number

PLURALS = {
    "Definition": "Definitions",
    "Lemma": "Lemmas",
    "Theorem": "Theorems",
    "Proposition": "Propositions",
    "Corollary": "Corollaries",
    "Counterexample": "Counterexamples",
    "Exercise": "Exercises",
    "Chapter": "Chapters",
}
KINDS = {word: kind for kind, plural in PLURALS.items() for word in (plural, kind)}
COUNTED_APART = ("Chapter", "Exercise", "Equation")  # all other kinds share one counter

SPACE = r"""(?:\s|[#>]\s|["']\s+f?["'])+"""  # also where a quotation, comment or string is broken
ONE = r"\d{1,2}[a-z]?"
END = r"(?!\w|\.\d)"
NUMBER = rf"\b{ONE}(?:\.{ONE})?{END}"
PART = r"(?:\s?\([a-z]\))?"
BETWEEN = rf"(?:,{SPACE}(?:and{SPACE}|or{SPACE})?|{SPACE}(?:and|or|to){SPACE}|–)"
MENTION = re.compile(
    rf"(?P<paper>paper['’]s{SPACE})?\b(?P<word>{'|'.join(KINDS)}){SPACE}"
    rf"(?P<numbers>{NUMBER}{PART}(?:{BETWEEN}{NUMBER}{PART})*)"
    rf"|(?:\\tag\{{|(?<![\w$\\)}}\]])\()(?P<equation>(?!0){ONE}\.{ONE}{END})[)}}]"
    rf"|\bcheck\([\"'](?P<exercise>{ONE}\.{ONE}{END})",
    re.IGNORECASE,
)
HEADING = re.compile(
    rf"^#+ (?P<kind>{'|'.join(PLURALS)}) (?P<number>{ONE}\.{ONE}) \((?P<title>.+)\)\s*$"
    rf"|\\tag\{{(?P<tag>{ONE}\.{ONE})\}}",
    re.MULTILINE,
)
# an anchor; a notebook's name, which without a number may be any word
NAME = re.compile(r"#[\w-]+|\b\d{1,2}[a-z]?_\w+|(?<=book/)\w+|\b\w+(?=\.ipynb)")


@dataclass(frozen=True)
class Target:
    """Something with a number; a new chapter may have none, ""."""

    kind: str
    number: str
    title: str
    path: str

    @property
    def key(self) -> Key:
        return _key(self.kind, self.number)

    @property
    def topic(self) -> str:
        return _label_and_topic(self.path)[1]

    @property
    def anchor(self) -> str:
        """The id of the heading in the built page; for an equation, free for the page to set."""
        return re.sub(r"[^a-z0-9]+", "-", self._heading.lower()).strip("-")

    @property
    def slug(self) -> str:
        """What a link in Markdown says behind ``#``: the heading as GitHub and MyST shorten it."""
        return re.sub(r"[^\w -]", "", self._heading.lower()).replace(" ", "-")

    @property
    def _heading(self) -> str:
        name = "" if self.kind == "Chapter" else f"{self.kind} {self.number} "
        return name + self.title  # a page has the title in brackets, which both leave out


@dataclass(frozen=True)
class Mention:
    """Numbers of one kind that a text mentions together, and where they stand in it.

    ranges: the i for which numbers i and i + 1 are the ends of a range.
    """

    kind: str
    numbers: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    ranges: tuple[int, ...] = ()

    @property
    def keys(self) -> list[Key]:
        return [_key(self.kind, number) for number in self.numbers]


@cache
def mentions(text: str) -> tuple[Mention, ...]:
    """All mentions in a text, headings and tags included, the paper's numbers excluded."""
    return tuple(_mentions(text))


def _mentions(text: str) -> Iterator[Mention]:
    for found in MENTION.finditer(text):
        if not found["word"]:
            name = "equation" if found["equation"] else "exercise"
            yield Mention(name.capitalize(), (found[name],), (found.span(name),))
            continue
        word = found["word"].capitalize()
        kind, parts = KINDS[word], [*re.compile(NUMBER).finditer(text, *found.span("numbers"))]
        if word == kind:
            del parts[1:]  # only a plural takes a list
        if found["paper"] or any(("." in part[0]) == (kind == "Chapter") for part in parts):
            continue  # "Theorem 7" is somebody else's
        gaps = [text[a.end() : b.start()] for a, b in pairwise(parts)]
        ranges = tuple(i for i, gap in enumerate(gaps) if re.search(r"\bto\b|–", gap))
        yield Mention(kind, tuple(p[0] for p in parts), tuple(p.span() for p in parts), ranges)


def targets(files: Files | None = None) -> list[Target]:
    """All chapters, statements, exercises and equations, in the order of the book."""
    files = read() if files is None else files
    found: list[Target] = []
    for name in re.findall(r"(?:root|file):\s*(\S+)", files[TOC]):
        path = f"{name}.ipynb"
        cells = [c for c in _cells(files.get(path, "")) if c["cell_type"] == "markdown"]
        inside = [
            Target(m["kind"] or "Equation", m["number"] or m["tag"], m["title"] or "", path)
            for m in HEADING.finditer("\n\n".join("".join(cell["source"]) for cell in cells))
        ]
        label = _label_and_topic(path)[0]
        if cells and (label or any(target.kind not in COUNTED_APART for target in inside)):
            title = "".join(cells[0]["source"]).split("\n")[0].strip("# ")
            found += [Target("Chapter", label, title, path), *inside]
    return found


def problems(files: Files | None = None) -> list[str]:
    """Numbers given twice, and mentions without a target, each with its place."""
    files = read() if files is None else files
    known: dict[Key, Target] = {}
    found = []
    for target in targets(files):
        if target.number and (first := known.setdefault(target.key, target)) is not target:
            found.append(
                f"{target.path}: {target.kind} {target.number} has a number that is taken in "
                f"{first.path}; give the new one another, such as {target.number}a"
            )
    for path, text in files.items():
        for mention in (m for piece in _pieces(path, text) for m in mentions(piece)):
            found += [
                f"{path}: {mention.kind} {key[1]} is mentioned and does not exist"
                + ("; a plain number stands without brackets" * (mention.kind == "Equation"))
                for key in mention.keys
                if key not in known or known[key].kind != mention.kind
            ]
    return found


def renumber(files: Files) -> tuple[Files, list[str]]:
    """The files with all numbers in the order of the table of contents; ranges to read again.

    Raises ValueError where a number is given twice or a mention has no target.
    """
    if found := problems(files):
        raise ValueError("some numbers are not clear:\n" + "\n".join(found))
    book = targets(files)
    pairs = list(zip(book, _numbered(book), strict=True))
    table = {old.key: new for old, new in pairs if old.number}
    paths = {old.path: new.path for old, new in pairs}
    names = {Path(old).stem: Path(new).stem for old, new in paths.items()}
    names |= {f"#{old.anchor}": f"#{new.anchor}" for old, new in pairs if old.title}
    names |= {f"#{old.slug}": f"#{new.slug}" for old, new in pairs if old.title}
    torn: list[str] = []

    def rewrite(path: str, text: str) -> str:
        places: list[tuple[tuple[int, int], str]] = []
        for mention in mentions(text):
            if all(_has(table, key, mention.kind) for key in mention.keys):
                numbers, whole = _new_numbers(mention, table)
                places += zip(mention.spans, numbers, strict=True)
                if not whole:
                    was, now = " to ".join(mention.numbers), " to ".join(numbers)
                    torn.append(f"{paths.get(path, path)}: {mention.kind} {was} → {now}")
        for found in NAME.finditer(text):
            if found[0] in names:
                places.append((found.span(), names[found[0]]))
        for (begin, end), new in sorted(places, reverse=True):
            text = text[:begin] + new + text[end:]
        return text

    written = {}
    for path, text in files.items():
        pieces = [rewrite(path, piece) for piece in _pieces(path, text)]
        written[paths.get(path, path)] = _joined(path, text, pieces)
    return written, torn


def _numbered(book: list[Target]) -> list[Target]:
    """The same things with the numbers and paths that their order gives them."""
    found, chapter, path, count = [], 0, "", dict[str, int]()
    for target in book:
        if target.kind == "Chapter":
            chapter, count = chapter + 1, {}
            path = str(Path(target.path).with_name(f"{chapter:02d}_{target.topic}.ipynb"))
            found.append(replace(target, number=str(chapter), path=path))
        else:
            count[target.key[0]] = count.get(target.key[0], 0) + 1
            found.append(replace(target, number=f"{chapter}.{count[target.key[0]]}", path=path))
    return found


def _new_numbers(mention: Mention, table: dict[Key, Target]) -> tuple[list[str], bool]:
    """The numbers to be written for a mention; False where the members of a range have parted."""
    new, whole = [table[key].number for key in mention.keys], True
    for i in mention.ranges:
        first, last = map(_rank, mention.numbers[i : i + 2])
        family = {k[1]: t.number for k, t in table.items() if k[0] == mention.keys[i][0]}
        every = sorted(family.values(), key=_rank)
        inside = [new for old, new in family.items() if first <= _rank(old) <= last]
        start = min(map(every.index, inside), default=0)
        if inside and every[start : start + len(inside)] == sorted(inside, key=_rank):
            new[i : i + 2] = every[start], every[start + len(inside) - 1]
        else:
            whole = False
    if mention.kind == "Chapter" and not mention.ranges and _ascending(mention.numbers):
        new.sort(key=_rank)
    return new, whole


def _key(kind: str, number: str) -> Key:
    return (kind if kind in COUNTED_APART else "Statement", number)


def _has(table: dict[Key, Target], key: Key, kind: str) -> bool:
    return key in table and table[key].kind == kind


def _rank(number: str) -> list[tuple[int, str]]:
    """By which numbers are sorted: 4.2 before 4.2a before 4.10."""
    return [(int(n), letter) for n, letter in re.findall(r"(\d+)([a-z]?)", number)]


def _ascending(numbers: tuple[str, ...]) -> bool:
    return list(numbers) == sorted(numbers, key=_rank)


def _label_and_topic(path: str) -> tuple[str, str]:
    label, _, topic = re.sub(r"^(?!0*\d+[a-z]?_)", "_", Path(path).stem).partition("_")
    return re.sub(r"^0+(?=\d)", "", label), topic


def _pieces(path: str, text: str) -> list[str]:
    return ["".join(c["source"]) for c in _cells(text)] if path.endswith(".ipynb") else [text]


def _cells(text: str) -> list[dict[str, Any]]:
    return json.loads(text)["cells"] if text else []


def _joined(path: str, text: str, pieces: list[str]) -> str:
    """The file with other pieces; to the byte the same if they are the same."""
    if pieces == _pieces(path, text):
        return text
    if not path.endswith(".ipynb"):
        return pieces[0]
    nb = json.loads(text)
    for cell, piece in zip(nb["cells"], pieces, strict=True):
        cell["source"] = piece.splitlines(keepends=True)
    return json.dumps(nb, indent=1, ensure_ascii=False) + "\n"


def read(root: Path = ROOT) -> Files:
    """All text files that may mention a number."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not SKIPPED.fullmatch(name))
        for name in sorted(name for name in names if not SKIPPED.fullmatch(name)):
            path = Path(folder, name)
            if path.suffix in TEXT or name == "Makefile":
                found[path.relative_to(root).as_posix()] = path.read_bytes().decode("utf-8")
    return found


def write(before: Files, after: Files, root: Path = ROOT) -> None:
    """Each beside and then in its place; what has another name now goes last."""
    for path, text in after.items():
        if before.get(path) != text:
            part = (root / path).with_suffix(".part")
            part.write_bytes(text.encode("utf-8"))
            os.replace(part, root / path)
    for path in before.keys() - after.keys():
        (root / path).unlink()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m evidence number",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it would")
    parser.add_argument("--toc", help="a file with the order that _toc.yml shall have")
    options = parser.parse_args(arguments)
    before = read(ROOT)
    given = Path(options.toc or TOC).expanduser()
    if options.toc and not given.is_file():
        parser.error(f"--toc must be a file with the new order, got {options.toc!r}")
    files = before | ({TOC: given.read_text("utf-8")} if options.toc else {})
    try:
        after, torn = renumber(files)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for old, new in zip(targets(files), targets(after), strict=True):
        if old != new:
            print(f"{old.kind} {old.number} → {new.number}  {old.title}  {new.path}")
    changed = {path for path, text in after.items() if before.get(path) != text}
    for place in torn:
        print(f"read again, the members of this range have parted: {place}")
    print(f"{len(changed)} files {'would change' if options.check else 'changed'}")
    if not options.check:
        write(before, after, ROOT)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())

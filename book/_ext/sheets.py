"""``make sheets``: exercises and, apart, solutions as PDF for each chapter, and the cheat sheet.

Text comes from the notebooks, formulas from MathJax, the print from Chromium.
"""

from __future__ import annotations

import html
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from nbconvert.filters import markdown2html_mistune as markdown

from environment import ROOT
from page import course
from pdf import BROWSERS, FORMULAS
from slides import mathjax

CHEAT = "cheat_sheet"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<script>window.MathJax = {{ tex: {{ inlineMath: [["$", "$"]] }} }};</script>
<script src="mathjax/tex-chtml-full.js"></script>
<style>
  @page {{ size: A4; margin: {margin}; }}
  body {{ font: {size}/1.4 Georgia, "DejaVu Serif", serif; }}
  h1 {{ font-size: 1.5em; margin: 0 0 .4em; }} h2 {{ font-size: 1.2em; margin: .9em 0 .3em; }}
  h3 {{ font-size: 1.05em; margin: 1.1em 0 .2em; break-after: avoid; }}
  pre {{ font-size: .85em; background: #f4f4f4; padding: .5em; white-space: pre-wrap; }}
  code {{ font-size: .9em; }} .exercise {{ break-inside: avoid; }}
  .mark {{ float: right; color: #555; }} .anchor-link {{ display: none; }}
  .room {{ height: 3.2cm; }} .wide {{ height: 6cm; }} ul {{ margin: .3em 0; }}
  table {{ border-collapse: collapse; width: 100%; }} p {{ margin: .4em 0; }}
  td, th {{ border-bottom: 1px solid #ccc; padding: .15em .4em; }}
  td, th {{ text-align: left; vertical-align: top; }}
</style>
{body}
"""


def said(text: str) -> tuple[str, str]:
    """An exercise's statement without heading and mark, and its hint."""
    hint = re.search(r"<summary>Hint</summary>(.*?)</details>", text, re.S)
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    text = course.MARK.sub("", course.TITLE.sub("", text))
    return text.strip(), hint[1].strip() if hint else ""


def head(exercise: course.Exercise) -> str:
    points = "1 point" if exercise.level == 1 else f"{exercise.level} points"
    mark = f"{'★' * exercise.level} {exercise.minutes} min, {points}"
    title = f"Exercise {exercise.number} ({html.escape(exercise.title)})"
    return f'<h3><span class="mark">{mark}</span>{title}</h3>'


def exercises(chapter: course.Chapter) -> str:
    """Statements with room to write, stubs where something is coded, hints on the last lines."""
    parts, hints = [f"<h1>{chapter.number}. {html.escape(chapter.title)}: exercises</h1>"], []
    for exercise in chapter.exercises:
        statement, hint = said(exercise.statement)
        stub = f"<pre>{html.escape(exercise.stub)}</pre>"
        coded = exercise.kind == "code"
        room = stub if coded else f'<div class="room{" wide" * (exercise.level > 1)}"></div>'
        parts.append(f'<div class="exercise">{head(exercise)}{markdown(statement)}{room}</div>')
        hints.append(f"- *{exercise.number}.* {hint}")
    return "".join(parts) + markdown("## Hints\n\n" + "\n".join(hints))


def solutions(chapter: course.Chapter) -> str:
    parts = [f"<h1>{chapter.number}. {html.escape(chapter.title)}: solutions</h1>"]
    for exercise in chapter.exercises:
        text = re.sub(r"</?details>|<summary>.*?</summary>", "", exercise.solution)
        parts.append(f'<div class="exercise">{head(exercise)}{markdown(text.strip())}</div>')
    return "".join(parts)


def cheat_sheet() -> str:
    """The page's Markdown, small enough for one sheet."""
    return markdown(course.Chapter(0, ROOT / f"book/{CHEAT}.ipynb").text)


def sheet(body: str, title: str, size: str = "10.5pt", margin: str = "18mm 16mm") -> str:
    return PAGE.format(body=body, title=title, size=size, margin=margin)


def sheets() -> dict[str, str]:
    """Name → page."""
    found = {CHEAT: sheet(cheat_sheet(), "Cheat sheet", "9.2pt", "10mm 12mm")}
    for chapter in course.chapters().values():
        for kind, make in (("exercises", exercises), ("solutions", solutions)):
            name = f"{kind}/{chapter.path.stem}"
            found[name] = sheet(make(chapter), f"{chapter.title}: {kind}")
    return found


def printed(pages: Mapping[str, str], folder: Path) -> None:
    """A PDF for each page; the pages are written beside MathJax, and go when they are printed."""
    from playwright.sync_api import sync_playwright

    chromium = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit(f"Printing needs a browser, one of {', '.join(BROWSERS)}; install one.")
    work = folder / ".pages"
    mathjax(work / "mathjax")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(color_scheme="light")
        for name, text in pages.items():
            (work / "page.html").write_text(text, encoding="utf-8")
            tab.goto((work / "page.html").as_uri(), wait_until="load")
            tab.evaluate(FORMULAS)
            target = folder / f"{name}.pdf"
            target.parent.mkdir(parents=True, exist_ok=True)
            tab.pdf(path=target, prefer_css_page_size=True, print_background=True)
        browser.close()
    shutil.rmtree(work)


def main(folder: Path = ROOT / "_build/sheets") -> None:
    printed(sheets(), folder)
    print(f"Sheets of exercises, of solutions, and the cheat sheet: {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

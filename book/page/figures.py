"""Figures on a page: the book's style, the text beside a picture, the number in its caption."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page.mode import device

if TYPE_CHECKING:  # a page without figures does not wait for matplotlib
    from IPython.display import HTML
    from matplotlib.figure import Figure

CONTENTS = Path(__file__).resolve().parents[2] / "_toc.yml"
CSS = 100  # pixels of the page for an inch of a figure
SHARP = 200  # dots for an inch of a picture: two for each pixel
HEAVY = 150_000  # bytes of a drawing from which on a picture is lighter


def use_style() -> None:
    """The book's style: white, few lines, text that stays readable on a phone."""
    import matplotlib.pyplot as plt

    from subspace_lib.figures import CLUSTERS

    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=list(CLUSTERS)),
            "axes.titlesize": 12,
            "axes.labelsize": 12,
            "font.size": 11.5,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "image.interpolation": "nearest",
        }
    )


def chapter_number(topic: str) -> int | None:
    """The place of ``NN_topic`` among the chapters of the table of contents; None elsewhere."""
    if not CONTENTS.exists():
        return None
    names = re.findall(r"file:\s*(?:\S*/)?\d\d_(\w+)", CONTENTS.read_text(encoding="utf-8"))
    return names.index(topic) + 1 if topic in names else None


class _Captions:
    """The captions since the set-up cell ran: a figure's cell that runs again keeps its number."""

    def __init__(self, topic: str = "") -> None:
        self.topic, self.chapter = topic, chapter_number(topic)
        self.seen: list[str] = []

    def place(self, caption: str) -> tuple[str, str]:
        """(label, id) such as ("Figure 7.3", "figure-theorem-3"); no chapter, no first number."""
        if caption not in self.seen:
            self.seen.append(caption)
        number = self.seen.index(caption) + 1
        label = f"{self.chapter}.{number}" if self.chapter else str(number)
        return f"Figure {label}", "-".join(filter(None, ["figure", self.topic, str(number)]))


_captions = _Captions()


def begin(topic: str) -> None:
    """Count figures from 1, as the chapter ``topic``'s; the set-up cell says this once.

    A chapter says where its networks will train.
    """
    global _captions
    _captions = _Captions(topic)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal: a sign it lacks becomes "?"
            stream.reconfigure(errors="replace")
    if _captions.chapter:
        print(f"networks train on: {device()}")


def described(alt: Any) -> str:
    """``alt``, when it says something. Raises ValueError when it is empty."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError("alt must say in a sentence what the figure shows, got an empty text")
    return alt.strip()


def show(fig: Figure | Sequence[Figure], *, alt: str, caption: str | None = None) -> HTML:
    """The figure with its text; use it as the last line of a cell.

    fig: a figure, or several that stand side by side where there is room, else one below the other.
    alt: what the figure shows, in a sentence, for whom does not see it.
    caption: what to look at, for whom does; it is numbered within the chapter, as in "Figure 7.3.
    What to see: …", and may hold formulas between dollars.
    Lines are drawn in the colours of the page, light or dark. Heat maps are pictures, whose white
    is the page's ground: say that a colour is strong, not that it is dark.
    Raises ValueError when a text is empty.
    """
    import matplotlib.pyplot as plt
    from IPython.display import HTML

    alt = described(alt)
    if caption is not None and not caption.strip():
        raise ValueError("caption must say what to look at, got an empty text; leave it out")
    panels = list(fig) if isinstance(fig, Sequence) else [fig]
    images = [
        drawn(panel, alt if k == 0 else f"{alt} (Panel {k + 1}.)") for k, panel in enumerate(panels)
    ]
    for panel in panels:
        plt.close(panel)
    kind = "panels three" if len(images) == 3 else "panels"
    image = images[0] if len(images) == 1 else f'<div class="{kind}">{"".join(images)}</div>'
    return HTML(image if caption is None else captioned(image, caption.strip()))


def captioned(image: str, caption: str) -> str:
    """A numbered figure of the chapter."""
    label, anchor = _captions.place(caption)
    text = re.sub(r"(?<=[a-z])'(?=[a-z]|\s)", "’", caption)  # Sphinx does this in prose only
    # formulas as the book's MathJax knows them; it skips raw HTML that does not ask for it
    text = re.sub(r"\$(.+?)\$([,.;:]?)", _formula, html.escape(text))
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
    return (
        f'<figure id="{anchor}" style="margin:0">{image}'
        f'<figcaption class="mathjax_process"><b>{label}.</b> {text}</figcaption></figure>'
    )


def _formula(found: re.Match[str]) -> str:
    """As MathJax knows it; a mark after a short one stays on its line."""
    formula, mark = found.groups()
    text = rf"\({formula}\){mark}"
    return f'<span class="held">{text}</span>' if mark and len(formula) < 30 else text


def drawn(fig: Figure, alt: str) -> str:
    """One drawing for light and dark, or a picture where that would be heavy or holds one."""
    width, height = (round(float(side) * CSS) for side in fig.get_size_inches())
    size = f'width="{width}" height="{height}" style="max-width:100%;height:auto'
    lines = None if _holds_pictures(fig) else svg(fig)
    if lines is not None and len(lines) < HEAVY:
        label = html.escape(alt)
        return lines.replace("<svg ", f'<svg role="img" aria-label="{label}" {size}" ', 1)
    uri = webp_uri(fig, SHARP)
    return f'<img class="dark-light" {size};background:#fff" src="{uri}" alt="{html.escape(alt)}">'


def _holds_pictures(fig: Figure) -> bool:
    from matplotlib.collections import QuadMesh
    from matplotlib.image import AxesImage

    kinds = (AxesImage, QuadMesh)
    return any(
        ax.name == "3d" or any(isinstance(a, kinds) for a in ax.get_children()) for ax in fig.axes
    )


def svg(fig: Figure) -> str:
    """The figure as markup whose black follows the text of the page, and its white the ground."""
    import matplotlib.pyplot as plt

    from subspace_lib.figures import MEANINGS

    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "book"}):  # the same figure, the same markup
        fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # matplotlib's style sheet would hold for all of the page: what it says stands at the root
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r"\s*\n\s*", " ", text)
    box = re.search(r'viewBox="[^"]*"', text)
    inside = text[text.index(">") + 1 :]
    own = hashlib.sha256(inside.encode()).hexdigest()[:8]  # several figures share a page
    inside = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", inside)
    inside = re.sub(r"#000000|(?<=: )black\b", "currentColor", inside)
    inside = inside.replace("#ffffff", "var(--pst-color-background, #fff)")
    for name, colour in MEANINGS.items():
        word = name.split(",")[0].replace("the ", "").replace("this ", "")
        inside = inside.replace(colour.lower(), f"var(--c-{word}, {colour.lower()})")
    return f'<svg {box[0] if box else ""} fill="currentColor" stroke-linejoin="round">{inside}'


def webp_uri(fig: Figure, dpi: int, colors: int | None = None) -> str:
    """The figure as a data URI; WebP is a tenth of SVG for heat maps.

    colors: reduce to so many (at most 256) and store them without loss, which is half the size
    where a small figure is mostly text, lines and a coarse heat map.
    """
    from PIL import Image

    buffer = io.BytesIO()
    if colors is None:
        options = {"quality": 82, "method": 4}
        fig.savefig(buffer, format="webp", dpi=dpi, facecolor="white", pil_kwargs=options)
    else:
        raw = io.BytesIO()
        fig.savefig(raw, format="png", dpi=dpi, facecolor="white", pil_kwargs={"compress_level": 1})
        # an octree keeps the colours of thin lines apart, the default merges rare ones
        few = Image.open(raw).convert("RGB")
        few = few.quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.convert("RGB").save(buffer, "WEBP", lossless=True, quality=100, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()

"""A figure as a data URI."""

import base64
import io

from matplotlib.figure import Figure
from PIL import Image


def webp_uri(fig: Figure, dpi: int, colours: int | None = None) -> str:
    """The figure as a data URI; WebP is a tenth of SVG for heat maps.

    colours: reduce to so many (at most 256) and store them without loss, which is half the size
    where a small figure is mostly text, lines and a coarse heat map.
    """
    buffer = io.BytesIO()
    options = {"quality": 82, "method": 4}
    if colours is None:
        fig.savefig(buffer, format="webp", dpi=dpi, facecolor="white", pil_kwargs=options)
    else:
        raw = io.BytesIO()
        fig.savefig(raw, format="png", dpi=dpi, facecolor="white", pil_kwargs={"compress_level": 1})
        # an octree keeps the colours of thin lines apart, the default merges rare ones
        few = (
            Image.open(raw)
            .convert("RGB")
            .quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        )
        few.convert("RGB").save(buffer, "WEBP", lossless=True, quality=100, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()

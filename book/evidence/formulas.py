"""Formulas in sentences: for a page between dollars, for a terminal in the signs that it has."""

from __future__ import annotations

import html
import re

# What a terminal can show of the formulas in a claim.
SIGNS = {
    r"\\delta(?![a-z])": "δ",
    r"\\varepsilon(?![a-z])": "ε",
    r"\\eta(?![a-z])": "η",
    r"\\ge(?![a-z])": "≥",
    r"\\le(?![a-z])": "≤",
    r"\\to(?![a-z])": "→",
    r"\\approx(?![a-z])": "≈",
    r"\^\{?\\ast\}?": "*",
    r"\\,": " ",
    r"\\operatorname\{(\w+)\}": r"\1 ",
    r"\\\|": "‖",
    r"\\sqrt\{(.*?)\}": r"√(\1)",
    r"\\mathrm\{(\w)\}": r"\1",
    r"\\sigma(?![a-z])": "σ",
}
DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
POWERS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(text: str) -> str:
    """Text with formulas between dollars, as the page's MathJax knows them."""
    return re.sub(r"\$(.+?)\$", r"\\(\1\\)", html.escape(text, quote=False))


def plain(text: str) -> str:
    """The same for a terminal: "$\\delta_1>\\sqrt{2^7r}$" is "δ₁>√(2⁷r)"."""

    def formula(found: re.Match[str]) -> str:
        inside = found[1]
        for sign, shown in SIGNS.items():
            inside = re.sub(sign, shown, inside)
        inside = re.sub(r"_(\d)", lambda m: m[1].translate(DIGITS), inside)
        inside = re.sub(r"\^(\d)", lambda m: m[1].translate(POWERS), inside)
        return re.sub(r" *([<>≥≤≈→]) *", r" \1 ", inside.replace("{", "").replace("}", "")).strip()

    return re.sub(r"\$(.+?)\$", formula, text)

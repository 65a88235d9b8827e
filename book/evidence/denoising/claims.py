"""Claims about the first link of the theorem, denoising."""

from evidence.claim import CHECKED, FAILS, HOLDS, claim
from evidence.readings import proved

claim(
    "denoising",
    r"The paper's Lemma 4.1: $\delta_1>\sqrt{2^7r}\,\|Z\|/\varepsilon$"
    r" gives $\|P(X)-P(X^\ast)\|<\varepsilon/8$ in the largest entry.",
    proved(HOLDS, "denoising-link"),
    CHECKED,
)

claim(
    "denoising-proof",
    r"Its proof: $\|Z\|_\mathrm{F}\le\sqrt{r}\,\|Z\|$.",
    proved(
        FAILS,
        "frobenius-slip",
        untrue="most favourable, Z of rank at most r: independent noise has rank min(m, n)",
    ),
    CHECKED,
)

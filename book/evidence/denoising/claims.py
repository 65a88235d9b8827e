"""Claims about the first link of the theorem, denoising."""

from evidence.claim import CHECKED, FAILS, HOLDS, claim
from evidence.readings import proved

claim(
    "denoising",
    "The paper's Lemma 4.1: δ₁ > √(2⁷r) ‖Z‖/ε gives ‖P(X) − P(X*)‖ < ε/8 in the largest entry.",
    proved(HOLDS, "denoising-link"),
    CHECKED,
)

claim(
    "denoising-proof",
    "Its proof: ‖Z‖_F ≤ √r ‖Z‖.",
    proved(
        FAILS,
        "frobenius-slip",
        untrue="most favourable, Z of rank at most r: independent noise has rank min(m, n)",
    ),
    CHECKED,
)

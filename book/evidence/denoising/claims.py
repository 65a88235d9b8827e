"""Claims about the first link of the theorem, denoising."""

from evidence.claim import FAILS, HOLDS, claim
from evidence.readings import CHECKED, proved

claim(
    "denoising",
    "The paper's Lemma 4.1: δ₁ > √(2⁷r) ‖Z‖/ε gives ‖P(X) − P(X*)‖ < ε/8 in the largest entry.",
    proved(HOLDS, "denoising-link"),
    CHECKED,
)

claim(
    "denoising-proof",
    "Its proof: ‖Z‖_F ≤ √r ‖Z‖.",
    proved(FAILS, "frobenius-slip"),
    CHECKED,
)

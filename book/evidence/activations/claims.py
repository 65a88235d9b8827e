"""Claims about activations."""

from evidence.claim import HOLDS, claim
from evidence.readings import CHECKED, proved

claim(
    "activation-link",
    "The paper's Lemma 4.3: δ₃ > √(2⁷r) ‖Y − WX‖/ε gives ‖P(Y) − P(WX)‖ < ε/8 "
    "in the largest entry.",
    proved(HOLDS, "bend-link"),
    CHECKED,
)

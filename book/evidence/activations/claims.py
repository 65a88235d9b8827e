"""Claims about activations."""

from evidence.claim import CHECKED, HOLDS, claim
from evidence.readings import proved

claim(
    "activation-link",
    "The paper's Lemma 4.3: δ₃ > √(2⁷r) ‖Y − WX‖/ε gives ‖P(Y) − P(WX)‖ < ε/8 "
    "in the largest entry.",
    proved(HOLDS, "bend-link"),
    CHECKED,
)
claim(
    "activation-free",
    "The paper's Lemma 4.3 is free for X ≥ 0 and W ≥ 0: ReLU then removes nothing.",
    proved(HOLDS, "idle-relu"),
    CHECKED,
)

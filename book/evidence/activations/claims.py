"""Claims about activations."""

from evidence.claim import CHECKED, HOLDS, claim
from evidence.readings import proved

claim(
    "activation-link",
    r"The paper's Lemma 4.3: $\delta_3>\sqrt{2^7r}\,\|Y-WX\|/\varepsilon$"
    r" gives $\|P(Y)-P(WX)\|<\varepsilon/8$ in the largest entry.",
    proved(HOLDS, "bend-link"),
    CHECKED,
)
claim(
    "activation-free",
    r"The paper's Lemma 4.3 is free for $X\ge0$ and $W\ge0$: ReLU then removes nothing.",
    proved(HOLDS, "idle-relu"),
    CHECKED,
)

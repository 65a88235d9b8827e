"""Claims about linear maps."""

from evidence.claim import CHECKED, CONDITIONAL, HOLDS, claim
from evidence.readings import proved

claim(
    "linear-rank",
    r"The paper's Lemma 4.2: $\operatorname{rank}W\ge r$ is enough for $P(WX^\ast)=P(X^\ast)$.",
    proved(
        CONDITIONAL,
        *("rank-kept", "wide-layers-are-safe"),
        condition="rank WX* = r, as for almost every W with at least r rows",
        otherwise=("rank-misses-signal",),
    ),
    CHECKED,
)

claim(
    "linear-link",
    r"With a gap $\delta_2$ the linear map moves the projector"
    r" by less than its share of $\varepsilon$.",
    proved(HOLDS, "rank-kept", "layer-link"),
    CHECKED,
)

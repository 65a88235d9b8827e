"""Claims about how far the paper's condition reaches, judged by the headline experiment."""

from __future__ import annotations

import numpy as np

from evidence.claim import CONDITIONAL, VACUOUS, Judgement, claim
from evidence.criteria import REALISTIC
from evidence.entry_by_entry import experiment as headline
from evidence.results import Result


def reach(run: Result) -> Judgement:
    """Vacuous where the printed condition certifies half of the trials only below REALISTIC."""
    table = headline.table(run)
    printed = float(table[headline.STATEMENTS.index("printed, ε_min")].max())
    returned = table[headline.STATEMENTS.index("true: clusters returned")]
    best = int(np.argmax(returned))
    where = "at no noise" if np.isneginf(printed) else f"up to variance 10^{printed:.1f}"
    measured = (
        f"it holds in half of the trials {where} at best; thresholding returns the clusters up to "
        f"10^{returned[best]:.1f} ({list(headline.SETTINGS)[best]})"
    )
    row = table[headline.STATEMENTS.index("printed, ε_min")]
    never = [name for name, v in zip(headline.SETTINGS, row, strict=True) if np.isneginf(v)]
    settings = (
        f"{len(row)} layers ({'; '.join(headline.SETTINGS)}): at no noise in {len(never)} of them; "
        f"{len(run.config['log_variance'])} noise levels"
    )
    return Judgement(CONDITIONAL if printed >= REALISTIC else VACUOUS, measured, settings)


claim(
    "condition-reach",
    "The condition δ > η covers realistic noise.",
    reach,
    "headline",
)

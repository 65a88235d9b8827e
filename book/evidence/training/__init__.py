"""Does training find it?"""

from evidence.training import (
    baseline,
    claims,
    experiment,
    lifted,
    other_readings,
    statements,
)

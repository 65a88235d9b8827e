"""From what is observed."""

from evidence.from_what_is_observed import experiment, power_step, statements

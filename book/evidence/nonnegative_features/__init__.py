"""Non-negative features."""

from evidence.nonnegative_features import claims, experiment, statements

"""Reconstruct or classify?"""

from evidence.objective import claims, experiment, statements

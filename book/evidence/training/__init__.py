"""Does training find it?"""

from evidence.training import baseline, claims, experiment, statements

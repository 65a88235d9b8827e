"""Relations."""

from evidence.measures import indicators, share_inside
from evidence.relations import claims, experiment, measures, statements
from evidence.relations.claims import correlation, final

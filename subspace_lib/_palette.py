"""The colours of the book: Okabe–Ito, each with one fixed meaning."""

SIGNAL = "#0072B2"  # the truth: clean data, P(X*)
NOISE = "#7F7F7F"
BOUND = "#D55E00"  # bounds and thresholds
NETWORK = "#009E73"  # what a network does; anything measured
SECOND = "#CC79A7"  # a second network
THEORY = "black"  # predictions, dashed
CLUSTERS = (SIGNAL, BOUND, NETWORK, SECOND, "#E69F00", "#56B4E9", "#8C6D00", NOISE)

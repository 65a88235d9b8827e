"""The colours of the book: five meanings, after Okabe and Ito, readable on white and on dark."""

TRUTH = "#0072B2"  # clean data, P(X*): what is true
PAPER = "#D55E00"  # the paper's conditions, bounds and claims
BOOK = "#A3508A"  # this book's bounds and certificates
NETWORK = "#009E73"  # what a network does, anything measured; a second network is dashed
MARGIN = "#9A6A00"  # margins and thresholds, dashed
NOISE = "#7F7F7F"  # outside the five
THEORY = "black"  # predictions, dashed
MEANINGS = {
    "truth": TRUTH,
    "the paper": PAPER,
    "this book": BOOK,
    "network, measured": NETWORK,
    "margin, threshold": MARGIN,
}
CLUSTERS = (TRUTH, PAPER, NETWORK, BOOK, "#E69F00", "#56B4E9", MARGIN, NOISE)

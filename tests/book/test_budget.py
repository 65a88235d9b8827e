"""The budget's bar: four slots, each filled by what a step takes."""

import matplotlib.pyplot as plt
import pytest

from page.budget import STEPS, plot_budget
from subspace_lib.figures import NETWORK, PAPER


def bar(*shares):
    _, ax = plt.subplots()
    plot_budget(dict(zip(STEPS, shares, strict=True)), ax=ax)
    texts = [text.get_text() for text in ax.texts]
    patches = list(ax.patches[:4])
    plt.close()
    return patches, texts


def test_a_slot_is_filled_by_its_share_of_an_eighth():
    patches, texts = bar(1 / 16, 0, None, 1 / 4)
    assert [patch.get_width() for patch in patches] == [0.5, 0, 0, 1]
    assert patches[0].get_facecolor()[:3] == pytest.approx(plt.matplotlib.colors.to_rgb(NETWORK))
    assert patches[3].get_facecolor()[:3] == pytest.approx(plt.matplotlib.colors.to_rgb(PAPER))
    assert {"50% of $\\varepsilon/8$", "nothing", "2.0 eighths"} <= set(texts)
    assert len([text for text in texts if text in STEPS]) == 4


def test_more_than_four_steps_are_refused():
    with pytest.raises(ValueError, match="one to four steps"):
        plot_budget({str(k): 0 for k in range(5)}, ax=plt.subplots()[1])
    plt.close()

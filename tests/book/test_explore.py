import base64
import io
import json
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import page
import subspace_lib as sl


def draw(noise, rank=1):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.bar(["noise", "rank"], [noise, rank])
    return fig, f"noise is {noise}"


def static(**changes):
    options = {"alt": "Two bars.", "static": True, "noise": [0.0, 0.5, 1.0], "rank": [1, 2]}
    return page.explore(draw, **{**options, **changes}).data


def test_static_page_holds_every_frame_and_says_what_it_shows():
    page = static()
    data = json.loads(re.search(r'application/json">(.*?)</script>', page)[1])
    assert len(data["frames"]) == len(data["notes"]) == 6
    assert len(set(data["frames"])) == 6
    assert data["notes"][2] == "noise is 0.5"
    assert 'alt="Two bars."' in page
    assert page.count('type="range"') == 0  # two and three values are buttons
    assert page.count('type="radio"') == 5
    assert "http" not in page


def test_static_page_is_reproducible_and_starts_where_told():
    assert static() == static()
    four = static(noise=[0.0, 0.2, 0.5, 1.0], start={"noise": 3})
    assert 'value="3" aria-label="noise" aria-valuetext="1"' in four


def kinds(**axes):
    shown = page.explore(lambda **point: bars(a=1), alt="Bars.", static=True, **axes).data
    return {
        kind: shown.count(mark)
        for kind, mark in {
            "slider": 'type="range"',
            "list": "<select",
            "buttons": "<fieldset",
        }.items()
    }


def test_each_axis_has_the_control_of_its_kind():
    assert kinds(a=[1, 2, 3, 4]) == {"slider": 1, "list": 0, "buttons": 0}
    assert kinds(a=[1, 2, 3]) == {"slider": 0, "list": 0, "buttons": 1}
    assert kinds(a=[True, False]) == {"slider": 0, "list": 0, "buttons": 1}
    assert kinds(a=["relu", "gelu", "silu", "tanh"]) == {"slider": 0, "list": 0, "buttons": 1}
    assert kinds(a=["a rather long name", "another long name", "and a third one"])["list"] == 1


def test_numbers_below_a_picture_keep_their_places():
    def render(a):
        return bars(a=a), {"largest sine": f"{a / 10:.2f}", "rank": 3}

    shown = page.explore(render, alt="Bars.", caption="What to see: $a$.", static=True, a=[1, 2])
    assert "<dt>largest sine</dt><dd>0.10</dd>" in shown.data
    assert '"notes":[[["largest sine","0.10"],["rank","3"]],' in shown.data
    assert "\\(a\\)" in shown.data
    live = page.explore(render, alt="Bars.", static=False, a=[1, 2]).children[0]
    assert "largest sine 0.10, rank 3" in live.value


def test_the_page_of_a_book_makes_the_live_control_too(monkeypatch):
    """One run of a notebook tries both; the picture at the start is drawn once."""
    drawn, made, real = [], [], widgets.SelectionSlider
    monkeypatch.setattr(
        widgets, "SelectionSlider", lambda **kind: made.append(kind) or real(**kind)
    )

    def render(a):
        drawn.append(a)
        return bars(a=a)

    page.explore(render, alt="Bars.", static=True, a=[1, 2, 3, 4], start={"a": 2})
    assert sorted(drawn) == [1, 2, 3, 4]
    assert [kind["value"] for kind in made] == [2]


def test_live_widget_changes_picture_and_text():
    box = page.explore(
        draw, alt="Two bars.", static=False, noise=[0.0, 0.5], labels={"noise": "s²"}
    )
    picture, side = box.children
    before = picture.value
    side.children[0].value = 1
    assert picture.value != before
    assert "Shown: s² 0.5" in picture.value
    assert "noise is 0.5" in picture.value
    reset = side.children[-1]
    assert not reset.disabled
    reset.click()
    assert picture.value == before
    assert reset.disabled


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"alt": " "}, ValueError, "alt must say"),
        ({"noise": []}, ValueError, "empty"),
        ({"start": {"noise": 3}}, ValueError, r"0\.\.2"),
    ],
)
def test_bad_input(change, kind, message):
    with pytest.raises(kind, match=message):
        static(**change)


def test_render_must_return_a_figure_and_axes_are_needed():
    with pytest.raises(TypeError, match="matplotlib Figure"):
        page.explore(lambda a: None, alt="x", static=True, a=[1])
    with pytest.raises(ValueError, match="at least one axis"):
        page.explore(draw, alt="x")


def test_figures_draw_on_the_callers_axes():
    data = sl.sample_union(
        ambient_dim=10, n_subspaces=2, subspace_dim=2, points_per_subspace=6, seed=0
    )
    P, y = sl.row_projector(data.X, 4), data.labels
    plots = (
        lambda ax: sl.figures.plot_projector(P, y, ax=ax),
        lambda ax: page.plot_margins(P, y, {"ε": 0.01}, ax=ax),
        lambda ax: page.plot_threshold_graph(P, y, 0.01, ax=ax),
        lambda ax: page.plot_sorted(P, ax=ax, label="P"),
        lambda ax: page.plot_chain(ax=ax),
    )
    for plot in plots:
        ax = plt.subplots()[1]
        assert plot(ax) is ax
    plt.close("all")


def test_a_projector_is_drawn_with_its_clusters_in_order():
    labels = np.array([1, 0, 1, 0, 0])
    P = (labels[:, None] == labels) * (1.0 + labels)
    ax = sl.figures.plot_projector(P, labels)
    drawn = np.asarray(ax.images[0].get_array())
    assert drawn.diagonal().tolist() == [1, 1, 1, 2, 2]
    assert not drawn[:3, 3:].any()
    edges = [set(np.ravel(line.get_data())) - {0, 1} for line in ax.lines]
    assert edges == [{2.5}, {2.5}]  # one cluster has three points
    plt.close("all")


def bars(**heights):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.bar(list(heights), list(heights.values()))
    return fig


def test_a_writer_of_its_own_also_writes_text():
    def named(**options):
        shown = page.explore(
            lambda kind: bars(**{kind: 1}), alt="x", static=True, kind=["a", "b"], **options
        ).data
        return json.loads(re.search(r'application/json">(.*?)</script>', shown)[1])["axes"]

    assert named(fmt={"kind": str.upper}) == [{"name": "kind", "labels": ["A", "B"], "start": 0}]
    assert named(fmt=str.upper) == [{"name": "kind", "labels": ["a", "b"], "start": 0}]


def test_controls_stand_beside_a_picture_that_leaves_room():
    def wide(a):
        return plt.figure(figsize=(8, 3))

    assert 'class="fx fx-beside"' in static()
    assert 'class="fx"' in page.explore(wide, alt="Wide.", static=True, a=[1]).data


def test_the_old_picture_is_dimmed_while_the_new_one_is_made():
    seen = []

    def slow(a):
        seen.extend(box.children[0].value for box in boxes)
        return bars(a=a)

    boxes = []
    boxes.append(page.explore(slow, alt="Bars.", static=False, a=[1, 2]))
    boxes[0].children[1].children[0].value = 1
    assert len(seen) == 1
    assert "opacity" in seen[0]


def test_few_colours_keep_the_lines_apart_and_take_less_room():
    def frame(**options):
        fig, (left, right) = plt.subplots(1, 2, figsize=(4, 3))
        left.imshow(np.random.default_rng(0).random((40, 40)), cmap="Blues")
        left.set_title("a coarse heat map")
        for k, colour in enumerate(sl.figures.CLUSTERS[:4]):
            right.plot([0, 1], [k, k + 1], color=colour)
        shown = page.explore(lambda a: fig, alt="x", static=True, a=[1], **options).data
        data = json.loads(re.search(r'application/json">(.*?)</script>', shown)[1])
        raw = base64.b64decode(data["frames"][0].split(",")[1])
        return len(raw), np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"), dtype=float)

    (size, _), (less, few) = frame(), frame(colors=48)
    assert less < 0.8 * size
    seen = np.unique(few.reshape(-1, 3), axis=0)
    assert len(seen) <= 48
    for colour in sl.figures.CLUSTERS[:4]:
        wanted = 255 * np.array(to_rgb(colour))
        assert np.abs(seen - wanted).max(1).min() <= 24, colour

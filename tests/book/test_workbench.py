"""What the laboratory's page is given, its HTML, and the bench of a kernel, without a browser."""

import base64
import json
import re
import threading
import time

import numpy as np
import pytest

import evidence
import subspace_lib as sl
from evidence import laboratory as lab
from evidence import workbench
from page import workbench as bench
from page.workbench_live import Bench, Overtaken

SMALL = lab.Config()
CONTROLS = [
    bench.Control("activation", "Activation", ("relu", "gelu"), ("ReLU", "GELU")),
    bench.Control("bias", "Bias", (True, False), ("yes", "no")),
    bench.Control("optimizer", "Optimiser", ("adam", "gd"), ("Adam", "gradient")),
    bench.Control("init", "Weights", ("usual",), ("usual",)),
    bench.Control("noise", "Noise", (0.1, 0.5), ("0.1", "0.5"), 0, "range"),
    bench.Control("depth", "Layers", (1, 2), ("1", "2"), 0, "range"),
    bench.Control("scale", "Size", (1, 0.2), ("× 1", "× 0.2"), 0, "range"),
    bench.Control("rate", "Rate", (1, 0.1), ("× 1", "× 0.1"), 0, "range"),
]


@pytest.fixture(scope="module")
def setup():
    return workbench.for_page(SMALL, evidence.load_result("laboratory"))


def numbers(text, kind="<f4"):
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_the_first_trial_is_the_librarys(setup):
    first = setup["first"]
    data = lab.paper_data(SMALL, 0.3)[0]
    clean, Z = (numbers(first[k]).reshape(60, 90).astype(float) for k in ("clean", "noise"))
    X = clean + Z * np.sqrt(0.3 * (clean**2).mean())
    assert np.allclose(X, data.X.numpy(), atol=1e-6)
    for init in ("usual", "nonnegative-first", "nonnegative-scaled"):
        net = sl.FeedForward((60, 24, 24, 24, 60))
        start = net.init(init, trials=1, seed=SMALL.seed + 2)
        for name, W in start.items():
            f = W.shape[-1]
            kind = "usual" if init == "nonnegative-first" and name != "W1" else init
            low = {"usual": -(f**-0.5)}.get(kind, 0.0)
            high = 1.0 if kind == "nonnegative-first" else f**-0.5
            u = numbers(first["weights"][name])[: W[0].numel()]
            assert np.allclose(low + (high - low) * u, W[0].numpy().ravel(), atol=1e-6), name


def test_the_medians_are_those_of_the_stored_grid(setup):
    stored, marks = evidence.load_result("laboratory"), setup["stored"]["marks"]
    assert marks == list(SMALL.marks)
    for name in workbench.CURVES:
        found = numbers(setup["stored"]["medians"][name], "<u2").reshape(-1, len(marks))
        for i in (0, 100, 215):
            row = stored[name][i]
            left = ~np.isnan(row[-1])
            if left.any():
                wanted = np.median(row[-1][left])
                assert abs(found[i, -1] * setup["stored"]["unit"] - min(wanted, 6.5534)) < 1e-4
            else:
                assert found[i, -1] == setup["stored"]["none"]


def test_every_question_has_one_answer_that_is_not_on_a_cut(setup):
    stored = evidence.load_result("laboratory")
    assert len(workbench.QUESTIONS) == 7
    for question in workbench.QUESTIONS:
        assert len(question.options) == len(question.cuts) + 1
        assert bench.chapter_of(question.topic)[1].endswith(f"{question.topic}.html")
        setting = workbench.OPENING | question.setting
        without = any(words in question.text for words in ("bias away", "o bias"))
        assert setting["bias"] is not without, question.text
        if "scale" not in setting:
            value = float(workbench.medians(stored.at(**setting), question.quantity).ravel()[-1])
            assert min(abs(value - cut) for cut in question.cuts) > 0.01, question.text
        said = {float(x) for text in question.options for x in re.findall(r"\.\d+", text)}
        assert said <= set(question.cuts)
        assert [*map(question.option, (0, sum(question.cuts) / 2, 1))] == [0, 1, 2]


def test_the_page_is_whole_and_asks_nobody(setup):
    shown = bench.show(
        setup, CONTROLS, picture="<img alt='x'>", extra=[], train=print, static=True
    ).data
    data = json.loads(re.search(r'application/json">(.*?)</script>', shown, re.S)[1])
    assert [axis["key"] for axis in data["axes"]] == [c.key for c in CONTROLS]
    assert "<img alt='x'>" in shown
    assert "fetch(" not in shown
    assert "http:" not in shown.replace('"http:" + "//www.w3.org/2000/svg"', "")
    assert len(shown) < 250_000
    cards = bench.cards(setup, [f"told {k}" for k in range(7)]).data
    assert cards.count("<article") == 7
    assert "told 6" in cards
    assert cards.count('type="radio"') == 21


def wait_for(condition, seconds=60.0):
    end = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < end, "waited too long"
        time.sleep(0.01)


def fake(frames, *, pause=0.0):
    """A training that reports so many frames and notes when it ends."""

    def train(setting, seed, report):
        V = np.eye(3, 6)
        try:
            for step in range(frames):
                report({"step": step, "V": V, **dict.fromkeys(workbench.CURVES, 0.5)})
                time.sleep(pause)
            train.ended.append("done")
        except Overtaken:
            train.ended.append("overtaken")
            raise

    train.ended = []
    return train


def test_a_move_overtakes_the_run_before_it():
    train = fake(10_000, pause=0.002)
    live = Bench(CONTROLS, train, rank=2, steps=10_000)
    wait_for(lambda: len(live.frames) == 1)
    live.go()
    wait_for(lambda: len(live.frames) > 5)
    first = live.thread
    live.inputs["activation"].value = 1
    wait_for(lambda: not first.is_alive())
    assert train.ended == ["overtaken"]
    wait_for(lambda: live.frames)
    assert live.setting["activation"] == "gelu"
    assert len(live.ghost) > 5  # the setting before stays to be seen
    live.start(paused=True)
    wait_for(lambda: len(train.ended) == 2)


def test_pause_step_go_and_restart():
    train = fake(5)
    live = Bench(CONTROLS, train, rank=2, steps=4)
    wait_for(lambda: len(live.frames) == 1)
    time.sleep(0.05)
    assert len(live.frames) == 1  # it waits for the reader
    live.step()
    wait_for(lambda: len(live.frames) == 2)
    time.sleep(0.05)
    assert len(live.frames) == 2
    live.go()
    wait_for(lambda: train.ended == ["done"])
    assert live.bar.value == 4
    live.start(paused=True)
    wait_for(lambda: len(live.frames) == 1)
    live.buttons["New seed"].click()
    wait_for(lambda: train.ended.count("done") == 2)
    assert live.seed == 2
    assert "Seed 2" in live.note.value


def test_an_error_in_the_thread_is_told():
    def train(setting, seed, report):
        raise ValueError("no such <rate>")

    live = Bench(CONTROLS, train, rank=2, steps=4)
    live.thread.join()
    assert isinstance(live.error, ValueError)
    assert "no such &lt;rate&gt;" in live.note.value


def test_the_kernels_run_is_the_stored_trial_and_answers_at_once():
    frames, came, began = [], threading.Event(), time.perf_counter()

    def report(frame):
        frames.append(frame | {"at": time.perf_counter() - began})
        came.set()

    setting = workbench.OPENING | {"scale": 1, "rate": 1}
    workbench.train(SMALL, setting, 1, report)
    stored = evidence.load_result("laboratory").at(**workbench.OPENING)
    assert frames[0]["at"] < 3.0  # 0.3 s on a quiet machine; the machine of the tests is not
    assert [f["step"] for f in frames][:11] == list(range(11))
    assert frames[-1]["step"] == SMALL.marks[-1]
    for name in ("share_r", "share_r1", "loss", "negative_share"):
        assert abs(frames[0][name] - stored[name][0, 0]) < 1e-3
        assert abs(frames[-1][name] - stored[name][-1, 0]) < 0.02
    assert frames[-1]["V"].shape == (7, 90)

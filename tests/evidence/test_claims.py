"""The ledger: verdicts come from stored results, and no chapter states another one."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from chapters import CHAPTERS, text
from environment import ROOT

import evidence
from evidence import cards, chapters, sensitivity, table, verdict, words
from evidence import claim as module
from evidence.__main__ import main
from evidence.claim import CHECKED, VERDICTS, Claim, Judgement, claims, weigh
from evidence.criteria import THRESHOLDS, limits
from evidence.experiment import EXPERIMENTS, Experiment
from evidence.formulas import plain
from evidence.readings import as_good, fewer_errors, mostly, proved
from evidence.results import COMMITTED, Result, load_result, save
from evidence.verdict import SCALE, Reading, condition, decide

LINE = r"\*\*Verdict \(([A-Za-z0-9-]+)\): (.+?)\.\*\*"
STATED = [(p, *found) for p in CHAPTERS for found in re.findall(LINE, text(p))]


@cache
def ledger():
    """Judged once for all tests that only read it."""
    return evidence.ledger()


def contradictions(stated, verdicts):
    """Sentences (chapter, claim, verdict) that the ledger does not bear out."""
    return [(p.stem, c, v, verdicts.get(c)) for p, c, v in stated if verdicts.get(c) != v]


def test_chapters_state_the_verdicts_of_the_ledger():
    assert STATED
    assert contradictions(STATED, ledger().verdicts()) == []


def test_every_tested_claim_is_stated_in_its_chapter():
    stated = {(p.stem[3:], claim) for p, claim, _ in STATED}
    tested = [c for c, found in ledger().rows if found.verdict != "not tested yet"]
    assert [c.id for c in tested if (c.topic, c.id) not in stated] == []


def test_the_comparison_sees_another_verdict():
    path, claim, verdict = STATED[0]
    other = next(v for v in VERDICTS if v != verdict)
    assert contradictions([(path, claim, other)], ledger().verdicts())
    assert contradictions([(path, "no-such-claim", verdict)], ledger().verdicts())


def test_without_results_nothing_is_claimed(tmp_path):
    verdicts = evidence.ledger(tmp_path).verdicts()
    assert set(verdicts.values()) == {"not tested yet"}


def test_a_damaged_result_is_an_error(tmp_path):
    (tmp_path / "statements.npz").write_bytes(b"PK truncated")
    with pytest.raises(ValueError, match="damaged or truncated"):
        evidence.judge("denoising", tmp_path)


@pytest.mark.parametrize("passed", [True, False])
def test_a_failed_check_takes_the_verdict_away(tmp_path, passed):
    arrays = {
        "instances": np.array([10]),
        "violations": np.array([0 if passed else 3]),
        "tightest": np.array([0.5]),
        "extremal": np.array([0.995]),
        "controls": np.array([2]),
        "broken": np.array([2]),
        "passed": np.array([passed]),
    }
    save(Result("statements", {}, [{"statement": "denoising-link"}], arrays), tmp_path)
    found = evidence.judge("denoising", tmp_path)
    assert (found.verdict == "holds") == passed
    assert found.sensitivity == ("proved: no dependence on seed or size" if passed else "")


# the rule


def reading(true, of=10, met=None, **more):
    """A reading that is true in the first ``true`` of ``of`` cases."""
    met = None if met is None else np.arange(of) < met
    return Reading("so read", np.arange(of) < true, met=met, **more)


def test_from_nothing_to_nothing_is_vacuous():
    assert decide([reading(0, met=0)])[0] == "vacuous"
    assert decide([reading(7, met=0), reading(10, met=0)])[0] == "vacuous"
    assert decide([reading(0, met=0), reading(0)])[0] == "fails"
    assert decide([reading(0, met=0), reading(1)])[0] == "holds under conditions"
    assert reading(7, met=4).true == 4  # where the hypothesis is not met nothing is claimed


def test_the_first_reading_is_the_words_and_the_last_the_most_favourable():
    assert decide([reading(10), reading(0)])[0] == "holds"
    assert decide([reading(9), reading(10)])[0] == "holds under conditions"
    assert decide([reading(0), reading(10)])[0] == "holds under conditions"
    verdict, deciding = decide([reading(0, unit="first"), reading(0, unit="last")])
    assert (verdict, deciding.unit) == ("fails", "last")
    beside = reading(10, counts=False)
    assert decide([beside, reading(0)])[0] == "fails"
    with pytest.raises(ValueError, match="at least one reading"):
        decide([beside])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_more_true_cases_never_give_a_lower_verdict(count):
    """All ways in which ``count`` readings of two cases can be true."""
    ways = list(product(range(3), repeat=count))
    rank = {true: SCALE.index(decide([reading(t, 2) for t in true])[0]) for true in ways}
    for less, more in product(ways, ways):
        if all(a <= b for a, b in zip(less, more, strict=True)):
            assert rank[less] <= rank[more]


def test_a_condition_is_what_the_true_settings_share():
    settings = [{"rate": rate, "bias": bias} for rate, bias in product((1, 2), (False, True))]
    found = Reading("spectral norm", [False, True, False, True], settings)
    assert condition("holds under conditions", [found]) == "bias yes, in 2 of 4 settings"
    other = Reading("largest entry", [False] * 4, settings)
    said = condition("holds under conditions", [other, found])
    assert said == "spectral norm: bias yes, in 2 of 4 settings"
    assert condition("holds", [found]) == ""


def test_a_reading_is_about_its_cases():
    with pytest.raises(ValueError, match="same cases"):
        Reading("so read", [True, False], [{"rate": 1}])
    with pytest.raises(ValueError, match="same cases"):
        Reading("so read", [True, False], met=[True])
    with pytest.raises(ValueError, match="needs a name"):
        Reading("", [True])
    assert reading(3).figure == (3.0, "of 10 settings")
    assert reading(3, number=0.5, unit="of it").figure == (0.5, "of it")


# how sure a verdict is


def toy(trials=20, share=1.0, middle=0.0, **config):
    """Scores (settings, checkpoints, trials): positive in this share of the trials."""
    both = product((0.1, 0.2, 0.4), (False, True))
    settings = [{"rate": rate, "bias": bias, "steps": "gd"} for rate, bias in both]
    one = np.where(np.arange(trials) < round(share * trials), 1.0, -1.0)
    scores = np.tile(one, (6, 3, 1)) + middle
    arrays = {"scores": scores, "steps": np.arange(6), "seconds": np.ones(6)}
    config = {"trials": trials, "hidden": 8} | config
    return Result("toy", config, settings, arrays, axes={"scores": 2})


def positive(run):
    """Every setting, positive in nine trials of ten at the end."""
    return [Reading("positive", mostly(run["scores"][:, -1] > 0), run.settings)]


def test_trials_are_drawn_along_their_declared_axis():
    run = toy(trials=4)
    run.arrays["both"] = np.arange(96).reshape(6, 4, 4)
    run.axes["both"] = 1
    index = np.array([3, 3, 0, 1])
    part = sensitivity.drawn(run, index)
    np.testing.assert_array_equal(part["both"], run["both"][:, index])
    np.testing.assert_array_equal(part["scores"], run["scores"][..., index])
    np.testing.assert_array_equal(part["steps"], run["steps"])
    assert part.settings == run.settings
    with pytest.raises(KeyError, match="no array 'other'"):
        part["other"]


def test_blocks_of_trials_are_drawn_with_their_settings():
    settings = [{"first": 10 * i, "trials": 10} for i in range(4)]
    arrays = {"scores": np.arange(8).reshape(4, 2)}
    run = Result("blocks", {"trials": 40}, settings, arrays, axes={"scores": 0})
    part = sensitivity.drawn(run, np.array([2, 2, 0, 1]))
    assert part.settings == [settings[i] for i in (2, 2, 0, 1)]
    assert part["scores"].tolist() == [[4, 5], [4, 5], [0, 1], [2, 3]]


def test_results_with_as_many_trials_share_the_draw():
    results = {"a": toy(), "b": toy(), "c": toy(trials=7)}
    for run in results.values():
        run.arrays["scores"] = np.tile(np.arange(run.config["trials"]), (6, 3, 1))
    parts = list(sensitivity.resamples(results, 5))
    for part in parts:
        np.testing.assert_array_equal(part["a"]["scores"], part["b"]["scores"])
        assert part["c"]["scores"].shape == (6, 3, 7)
    assert len({part["a"]["scores"].tobytes() for part in parts}) == 5


def test_every_stored_result_of_a_claim_can_be_drawn_again():
    names = {name for c in claims() if c.judge for name in (*c.needs, *c.optional)}
    stuck = []
    for name in sorted(names - {CHECKED}):
        try:
            run = load_result(name)
        except FileNotFoundError:
            continue
        if sensitivity.trials(run) == 0:
            stuck.append(name)
    assert stuck == []


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, "holds"), (0.9, "undecided"), (0.85, "undecided"), (0.3, "fails")]
)
def test_a_verdict_by_a_hairs_breadth_is_undecided(share, verdict):
    found = weigh(positive, {"toy": toy(share=share)}, {})
    assert found.verdict == verdict
    if verdict == "undecided":
        assert re.match(r"(holds|fails) in \d+ of 400 resamples, ", found.condition)
    else:
        assert "400 of 400 resamples of 20 trials" in found.sensitivity


def test_few_trials_are_named_and_what_has_none_says_so():
    assert "of 8 (fewer than ten) trials" in weigh(positive, {"toy": toy(8)}, {}).sensitivity
    bare = replace(toy(), axes={})
    assert weigh(positive, {"toy": bare}, {}).sensitivity.startswith("seeds were not varied")


def test_a_threshold_that_matters_makes_a_verdict_fragile():
    """Nine of a hundred trials are exceptions: allowed are ten, but at a fifth less only eight."""
    found = weigh(positive, {"toy": toy(trials=100, share=0.91)}, {})
    assert "exceptions × 0.8: fails" in found.fragile
    assert weigh(positive, {"toy": toy(trials=100)}, {}).fragile == ()


def test_thresholds_move_and_come_back():
    with limits.watched() as used:
        value = limits.change
        with limits.moved("change", 1.2):
            assert limits.change == pytest.approx(1.2 * value)
            assert limits.close == THRESHOLDS["close"].value
    assert limits.change == value
    assert used == {"change", "close"}
    with pytest.raises(AttributeError, match="no threshold 'chance'"):
        _ = limits.chance
    with pytest.raises(ValueError, match="threshold must be one of"), limits.moved("chance", 2):
        pass
    for name, threshold in THRESHOLDS.items():
        assert 0 < threshold.value <= 0.5, name  # a tolerance
        assert threshold.means, name
        assert threshold.reason, name


@pytest.mark.parametrize(
    ("score", "other", "fewer", "good"),
    [
        (0.9, 0.8, True, True),  # half of what was wrong is left
        (0.81, 0.8, False, True),  # nineteen twentieths
        (0.795, 0.8, False, True),
        (0.78, 0.8, False, False),
        (1.0, 1.0, False, True),
        (1.0, 0.999, True, True),
        (0.999, 1.0, False, True),
    ],
)
def test_scores_are_compared_by_what_is_wrong_or_within_a_hundredth(score, other, fewer, good):
    assert fewer_errors(score, other) == fewer
    assert as_good(score, other) == good


def test_no_judge_has_a_threshold_of_its_own():
    """Comparisons with a bare decimal belong in evidence/criteria.py."""
    bare = re.compile(r"[<>]=?\s*-?0?\.\d")
    texts = {path: path.read_text("utf-8") for path in (ROOT / "book/evidence").glob("*/claims.py")}
    assert len(texts) > 15
    quiet = {"nonnegative": 1}  # the noise of the claim's own words, 0.5
    found = {p.parent.name: len(bare.findall(t)) for p, t in texts.items() if bare.search(t)}
    assert found == quiet


def test_a_verdict_at_half_the_size_is_another_judgement(tmp_path, monkeypatch):
    whole, half = toy(middle=5.0), toy(trials=4, middle=5.0, hidden=4)
    for name in ("toy", "toy-half"):
        made = Experiment(name, "", None, None, lambda config: [], None, {"scores": 2})
        monkeypatch.setitem(EXPERIMENTS, name, made)
    claim = Claim("toy", "positive", ("toy",), positive)
    save(whole, tmp_path)
    assert "one size only (hidden 8)" in evidence.judge(claim, tmp_path).sensitivity
    save(replace(half, name="toy-half"), tmp_path)
    said = evidence.judge(claim, tmp_path).sensitivity
    assert said.endswith(
        "; the same verdict at half the size (hidden 4; 4 (fewer than ten) trials)"
    )
    save(replace(toy(middle=-5.0), name="toy-half"), tmp_path)
    said = evidence.judge(claim, tmp_path).sensitivity
    assert "another verdict, fails, at half the size (hidden 8; 20 trials)" in said


def test_an_optional_result_adds_readings_once_it_is_stored(tmp_path, monkeypatch):
    for name in ("toy", "toy-later"):
        made = Experiment(name, "", None, None, lambda config: [], None, {"scores": 2})
        monkeypatch.setitem(EXPERIMENTS, name, made)

    def judge(run, toy_later=None):
        return positive(run) + (positive(toy_later) if toy_later else [])

    claim = Claim("toy", "positive", ("toy",), judge, optional=("toy-later",))
    save(toy(middle=-5.0), tmp_path)
    assert evidence.judge(claim, tmp_path).verdict == "fails"
    save(replace(toy(middle=5.0), name="toy-later"), tmp_path)
    assert evidence.judge(claim, tmp_path).verdict == "holds under conditions"


def test_a_proof_needs_the_words_that_its_verdict_asks_for():
    with pytest.raises(ValueError, match="needs its condition"):
        proved("holds under conditions", "encoding")
    with pytest.raises(ValueError, match="most favourable reading must be named"):
        proved("fails", "encoding")


# every row

IDS = """identifiability projector-encodes projector-determines denoising denoising-proof
linear-rank linear-link activation-link theorem-3-1 theorem-condition-frequency depth-union-bound
depth-needs-epsilon-over-L condition-reach random-relu-destroys training-distance-falls
training-condition-rises training-nonnegative-preactivations training-no-regulariser
closed-form-clustering nonnegative-free nonnegative-optimum nonnegative-faster depth-layerwise
depth-layer-accuracy depth-chain-trained gelu-silu-preserve lstm-preserves pointwise-class
cnn-destroys transformer-destroys cnn-transformer-cluster-anyway implicit-bias real-data-preserve
real-data-scores nonnegative-practice collapse-and-flatness"""


def test_ids_stay():
    """What refers to a row by its id still finds it; splits get new ones beside."""
    assert set(IDS.split()) <= {claim.id for claim in claims()}


def test_every_row_lists_its_readings_and_says_how_sure_it_is():
    for claim, found in ledger().rows:
        tested = found.verdict != "not tested yet"
        assert bool(found.sensitivity) == tested, claim.id
        assert bool(found.readings) == tested, claim.id
        assert bool(found.unit) == tested, claim.id
        first_words = found.verdict in ("holds under conditions", "undecided")
        assert bool(found.condition) == first_words, claim.id
        if found.verdict == "fails":
            assert sum(reading.counts for reading in found.readings) >= 1, claim.id
    sure = {c.id: f.sensitivity for c, f in ledger().rows if c.needs}
    assert sure["denoising"].startswith("proved")
    assert sure["denoising-proof"].startswith("settled by a counterexample")
    assert re.search(r"in \d+ of 400 resamples of \d+ trials", sure["implicit-bias"])


KEYS = ["id", "chapter", "claim", "verdict", "condition", "number", "unit", "readings", "fragile"]


def test_records_are_plain_and_complete():
    rows = json.loads(json.dumps(ledger().records(), allow_nan=False))
    assert [row["id"] for row in rows] == [claim.id for claim in claims()]
    for row in rows:
        assert list(row)[: len(KEYS)] == KEYS
        assert row["verdict"] in VERDICTS
        assert isinstance(row["fragile"], list)
        for one in row["readings"]:
            assert {"name", "true", "of", "number", "unit"} <= set(one)
            assert 0 <= one["true"] <= one["met"] <= one["of"]


# what pages say in numbers: page, words, row, reading; {true} and {of} are the reading's counts
BEST, ANY = "any non-negative start, each at its own best rate", "from |P_r| or |P_r+1|"
LIFTED = "on lifted data with a bias, as printed"
ANYWAY = "cnn-transformer-cluster-anyway"
SENTENCES = [
    ("five_minutes", "at any of ${of}$ noise levels", "theorem-condition-frequency", "ReLU"),
    ("five_minutes", "{true}\nof the ${of}$ settings", "training-condition-rises", "as printed"),
    ("five_minutes", "at ${true}$ of ${of}$ noise levels", "training-condition-rises", LIFTED),
    ("training", "in ${true}$ of ${of}$ noise levels", "training-condition-rises", LIFTED),
    ("training", "all ${of}$ settings", "training-condition-rises", "as printed"),
    ("five_minutes", "certifies {true} of ${of}$ trained layers", "depth-chain-trained", "the sum"),
    (
        "five_minutes",
        "Of ${of}$ ways of reading such a layer ${true}$",
        "cnn-transformer-cluster-anyway",
        ANY,
    ),
    ("five_minutes", "{true} of ${of}$ comparisons", "nonnegative-practice", BEST),
    ("five_minutes", "{true} of ${of}$ settings keeps", "real-data-preserve", "r = 4K, every"),
    ("five_minutes", "dimension per class {true} does", "real-data-preserve", "r = K"),
    ("theorem", "at each of ${of}$ noise levels", "theorem-condition-frequency", "ReLU"),
    ("random_relu", "in all ${of}$ settings", "random-relu-destroys", "lost from r:"),
    ("random_relu", "in {true} of the ${of}$", "random-relu-destroys", "clusters no longer"),
    ("random_relu", "in {true} of the ${of}$", "random-relu-destroys", "lost from r + K"),
]


@pytest.mark.parametrize(("page", "said", "row", "name"), SENTENCES)
def test_what_pages_say_in_numbers_is_what_the_row_has(page, said, row, name):
    path = next(p for p in (ROOT / "book").glob("*.ipynb") if p.stem.lstrip("0123456789_") == page)
    found = next(found for claim, found in ledger().rows if claim.id == row)
    reading = next(reading for reading in found.readings if reading.line.startswith(name))
    true = {0: "none", 1: "one"}.get(reading.true, reading.true)
    assert said.format(true=true, of=reading.of) in text(path)


def test_trials_are_the_last_axis():
    true = np.ones((2, 3, 10), dtype=bool)
    true[0, 1, :2] = False
    assert mostly(true).tolist() == [[True, False, True], [True, True, True]]


@pytest.mark.parametrize(
    ("name", "share"),
    [("exceptions", 1 / 10), ("lost", 1 / 100), ("wrong", 1 / 10), ("nearly", 1 / 20)],
)
def test_a_threshold_is_the_share_that_its_words_say(name, share):
    words = {1 / 10: "in ten|of ten", 1 / 20: "one point in twenty", 1 / 100: "a hundredth"}
    found = THRESHOLDS[name]
    assert found.value == share
    assert re.search(words[share], found.means + found.reason)


def test_a_verdict_is_decided_at_the_usual_level():
    assert limits.disagree == 0.05


def test_settings_are_counted_by_their_values():
    settings = toy().settings
    found = words.tally(settings, range(6), [1, 3])
    assert found == "true in 2 of 6 settings: rate 0.1 1/2, 0.2 1/2, 0.4 0/2; bias no 0/3, yes 2/3"
    assert words.tally(settings, [0, 1], []) == "true in none of 2 settings (bias no, yes)"
    assert words.tally(settings, [0, 1], [0, 1]) == "true in all of 2 settings (bias no, yes)"
    assert words.common(settings, [1, 3]) == "rate 0.1, 0.2; bias yes"
    assert words.common(settings, []) == words.common(settings, list(range(6))) == ""


def test_ledger_displays():
    found = ledger()
    page = found._repr_html_()
    assert page.count('<article class="card') == len(claims())
    assert sum(found.counts().values()) == len(claims())
    assert "denoising" in repr(found)
    assert page.count('class="tile ') == sum(count > 0 for count in found.counts().values())
    assert page.count("<summary title=") == len(claims())
    assert "resamples of 100 trials" in page
    assert r"\(r&lt;n\)" in page
    assert table.threshold_table().data.count("<tr>") == len(THRESHOLDS) + 1
    with pytest.raises(ValueError, match="unknown claim"):
        evidence.judge("no-such-claim")
    with pytest.raises(ValueError, match="verdict must be one of"):
        Judgement("maybe", "")


def test_only_what_the_committed_results_say_is_remembered(monkeypatch, tmp_path):
    """A verdict on results from elsewhere is made from these."""
    asked = []
    monkeypatch.setattr(module, "remembered", lambda what, names, f: asked.append(what) or f())
    shutil.copy(COMMITTED / "theorem-frequency.npz", tmp_path)
    for folder, expected in ((None, True), (tmp_path, False)):
        asked.clear()
        module._weighed.cache_clear()
        evidence.judge("theorem-condition-frequency", folder)
        assert bool(asked) == expected
    module._weighed.cache_clear()


def test_a_claim_is_made_once_and_belongs_to_the_folder_that_makes_it(monkeypatch):
    with pytest.raises(ValueError, match="'denoising' exists already, in evidence/denoising"):
        module.claim("denoising", "again")
    monkeypatch.setattr(module, "CLAIMS", {})
    monkeypatch.setitem(globals(), "__name__", "evidence.depth.claims")
    made = module.claim("new", "something", positive, "toy", "other")
    assert (made.needs, made.chapter) == (("toy", "other"), chapters.number("depth"))
    assert evidence.judge(module.claim("open", "nobody judges it")).verdict == "not tested yet"


def test_the_command_prints_the_ledger(monkeypatch, capsys):
    monkeypatch.setattr(table, "ledger", ledger)
    assert main(["ledger"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^✓  4  denoising: holds\n     The paper's Lemma 4.1: δ₁ > √", out, re.M)
    assert re.search(r"^◐  5  linear-rank: holds under conditions: rank WX\* = r", out, re.M)
    assert "$" not in out
    assert "again: python -m evidence run depth --full" in out
    counted = [f"{count} {verdict}" for verdict, count in ledger().counts().items() if count]
    assert out.endswith("; ".join(counted) + "\n")
    assert main(["ledger", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["id"]: row["verdict"] for row in rows} == ledger().verdicts()


def test_an_unknown_command_names_the_known_ones(capsys):
    assert main(["prove"]) == 2
    assert "one of check, list, run, ledger, number, got 'prove'" in capsys.readouterr().err
    assert main([]) == 0
    assert "ledger" in capsys.readouterr().out


def test_a_chapter_imports_no_later_one():
    """In a process of its own: what ``import evidence.depth`` registers."""
    code = (
        "import sys, evidence.depth; from evidence.statement import STATEMENTS; "
        "print(*{m.split('.')[1] for m in sys.modules if m.startswith('evidence.')}, "
        "*sorted({s.topic for s in STATEMENTS.values()}))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "book")])}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    found = printed.decode().split()
    later = chapters.order()[chapters.order().index("depth") + 1 :]
    assert "depth" in found
    assert set(found) & set(later) == set()


def test_a_topic_that_is_no_chapter_is_refused():
    with pytest.raises(ValueError, match=r"a chapter, unions_of_subspaces, .* got 'ledger'"):
        chapters.number("ledger")


def test_a_strip_shows_each_case_and_many_as_a_bar():
    few = verdict.Reading("a", [True, False, True], met=[True, True, False])
    assert cards.strip(few) == [("true", 1), ("false", 1), ("unmet", 1)]
    many = verdict.Reading("a", [True, False] * 50)
    assert cards.strip(many) == [("true", 50), ("false", 50)]
    assert cards.strip(verdict.Reading("a", True, noun=verdict.SINGLE)) == []
    assert cards.drawn(few).count("<i ") == 3


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"$\delta_1>\sqrt{2^7r}\,\|Z\|/\varepsilon$ gives", "δ₁ > √(2⁷r) ‖Z‖/ε gives"),
        (r"$P(WX^\ast)=P(X^\ast)$", "P(WX*)=P(X*)"),
        (r"$\operatorname{rank}W\ge r$", "rank W ≥ r"),
        (r"$\|Z\|_\mathrm{F}$ and 5 $", "‖Z‖_F and 5 $"),
    ],
)
def test_formulas_in_a_terminal(formula, shown):
    assert plain(formula) == shown


def test_how_sure_a_verdict_is_is_said_or_a_dash_stands_there():
    assert table._sure(Judgement("holds")) == "–"
    assert (
        table._sure(Judgement("holds", fragile=("a", "b"), sensitivity="c")) == "fragile: a; b; c"
    )

"""The ledger: verdicts come from stored results, and no chapter states another one."""

import json
import os
import re
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
from evidence import chapters, sensitivity, table
from evidence import claim as module
from evidence.__main__ import main
from evidence.claim import VERDICTS, Claim, Judgement, assured, claims
from evidence.experiment import EXPERIMENTS, Experiment
from evidence.results import Result, load_result, save

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
        "controls": np.array([2]),
        "broken": np.array([2]),
        "passed": np.array([passed]),
    }
    save(Result("statements", {}, [{"statement": "denoising-link"}], arrays), tmp_path)
    found = evidence.judge("denoising", tmp_path)
    assert (found.verdict == "holds") == passed


# how sure a verdict is


def toy(trials=20, middle=0.0, **config):
    """Scores (settings, checkpoints, trials): positive in the first half of the trials only."""
    both = product((0.1, 0.2, 0.4), (False, True))
    settings = [{"rate": rate, "bias": bias, "steps": "gd"} for rate, bias in both]
    scores = np.tile(np.where(np.arange(trials) < trials / 2, 1.0, -1.0), (6, 3, 1)) + middle
    arrays = {"scores": scores, "steps": np.arange(6), "seconds": np.ones(6)}
    config = {"trials": trials, "hidden": 8} | config
    return Result("toy", config, settings, arrays, axes={"scores": 2})


def positive(run):
    good = (run["scores"] > 0).mean() > 0.4
    return Judgement("holds" if good else "fails", f"{len(run.arrays)} arrays")


def test_groups_of_trials_are_disjoint_and_complete():
    run = toy(trials=20)
    for count in (2, 4, 10):
        groups = sensitivity.split(run, count)
        assert [g.config["trials"] for g in groups] == [20 // count] * count
        together = np.concatenate([g["scores"] for g in groups], axis=2)
        np.testing.assert_array_equal(together, run["scores"])
        for g in groups:
            np.testing.assert_array_equal(g["steps"], run["steps"])
            assert g.settings == run.settings
    assert run.config["trials"] == 20
    assert len(sensitivity.halves(toy(trials=5))[1]["scores"][0, 0]) == 2  # the fifth is left over
    assert sensitivity.split(toy(trials=3), 2) is None  # one trial decides nothing
    assert sensitivity.split(toy(trials=6), 2) is not None
    assert sensitivity.split(replace(toy(), config={}), 2) is None


def test_an_axis_is_not_guessed():
    """Four checkpoints and four trials: the declared axis is split, and no array without one."""
    run = toy(trials=4)
    run.arrays["both"] = np.zeros((6, 4, 4))
    assert sensitivity.halves(run)[0]["both"].shape == (6, 4, 4)
    run.axes["both"] = 1
    assert sensitivity.halves(run)[0]["both"].shape == (6, 2, 4)
    assert sensitivity.halves(replace(run, axes={})) is None


def test_every_stored_result_of_a_claim_can_be_split():
    names = {name for c in claims() if c.judge for name in c.needs}
    stuck = []
    for name in sorted(names):
        try:
            run = load_result(name)
        except FileNotFoundError:
            continue
        if sensitivity.trials(run) >= 4 and sensitivity.halves(run) is None:
            stuck.append(name)
    assert stuck == []


def test_blocks_of_trials_are_split_by_settings():
    settings = [{"first": 10 * i, "trials": 10} for i in range(4)]
    arrays = {"scores": np.arange(8).reshape(4, 2)}
    run = Result("blocks", {"trials": 40}, settings, arrays, axes={"scores": 0})
    first, second = sensitivity.halves(run)
    assert second.settings == settings[2:]
    assert second["scores"].tolist() == [[4, 5], [6, 7]]
    assert first.config["trials"] == 20
    assert sensitivity.split(run, 10) is None


def test_a_verdict_that_depends_on_the_trials_says_so():
    found = assured(positive, {"toy": toy()})
    assert found.verdict == "holds"
    assert "1 of 2 halves (else: fails) and 5 of 10 tenths (else: fails) of 20 trials" in (
        found.sensitivity
    )
    assert "varied: rate 0.1, 0.2, 0.4; bias no, yes; one size only (hidden 8)" in found.sensitivity
    firm = assured(positive, {"toy": toy(middle=5.0)})
    assert firm.sensitivity.startswith(
        "the same verdict in 2 of 2 halves and 10 of 10 tenths of 20"
    )


def test_where_nothing_was_varied_it_says_so():
    run = replace(toy(), config={"hidden": 8}, settings=[{"rate": 1}] * 6, axes={})
    found = assured(positive, {"toy": run}).sensitivity
    assert found == "seeds were not varied; no setting was varied; one size only (hidden 8)"
    sized = replace(toy(), settings=[{"width": w} for w in range(6)])
    found = assured(positive, {"toy": sized}).sensitivity
    assert "one size" not in found
    assert "width 0 to 5, 6 values" in found


def test_a_verdict_at_half_the_size_is_another_judgement(tmp_path, monkeypatch):
    whole, half = toy(middle=5.0), toy(trials=4, middle=5.0, hidden=4)
    same = assured(positive, {"toy": whole}, {"toy": half}).sensitivity
    assert same.endswith("; the same verdict at half the size (hidden 4; 4 trials)")
    other = assured(positive, {"toy": whole}, {"toy": toy(trials=4, middle=-5.0)}).sensitivity
    assert "another verdict, fails, at half the size (hidden 8; 4 trials)" in other
    for name in ("toy", "toy-half"):
        made = Experiment(name, "", None, None, lambda config: [], None, {"scores": 2})
        monkeypatch.setitem(EXPERIMENTS, name, made)
    claim = Claim("toy", "positive", ("toy",), positive)
    save(whole, tmp_path)
    assert "one size only (hidden 8)" in evidence.judge(claim, tmp_path).sensitivity
    save(replace(half, name="toy-half"), tmp_path)
    assert evidence.judge(claim, tmp_path).sensitivity == same


def test_what_a_judge_says_replaces_the_list_of_settings():
    def judge(run):
        return Judgement("fails", "", "said by the judge")

    found = assured(judge, {"toy": toy()}).sensitivity
    assert "tenths of 20 trials; said by the judge; one size only" in found
    assert "rate" not in found
    proof = assured(judge, {"toy": Result("toy", {}, [{"statement": "a"}, {"statement": "b"}], {})})
    assert proof.sensitivity == "said by the judge"
    untested = assured(lambda run: Judgement("not tested yet", "–"), {"toy": toy()})
    assert untested.sensitivity == ""


def test_settings_are_counted_by_their_values():
    settings = toy().settings
    found = sensitivity.tally(settings, range(6), [1, 3])
    assert found == "true in 2 of 6 settings: rate 0.1 1/2, 0.2 1/2, 0.4 0/2; bias no 0/3, yes 2/3"
    assert sensitivity.tally(settings, [0, 1], []) == "true in none of 2 settings (bias no, yes)"
    assert sensitivity.tally(settings, [0, 1], [0, 1]) == "true in all of 2 settings (bias no, yes)"


def test_every_tested_claim_says_how_sure_it_is():
    for claim, found in ledger().rows:
        assert (found.sensitivity == "") == (found.verdict == "not tested yet"), claim.id
    sure = {c.id: f.sensitivity for c, f in ledger().rows if c.needs}
    assert sure["denoising"].startswith("proved")
    assert sure["linear-rank"].startswith("settled by a counterexample")
    assert re.search(r"of 2 halves .* of \d+ trials", sure["implicit-bias"])


def test_ledger_displays():
    table = ledger()
    page = table._repr_html_()
    assert page.count("<tr id=") == len(claims())
    assert sum(table.counts().values()) == len(claims())
    assert "denoising" in repr(table)
    assert page.count("<th scope='col'>") == 5
    assert page.count("<td>") == 5 * len(claims())
    assert "how sure" in page
    assert "10 of 10 tenths" in page
    with pytest.raises(ValueError, match="unknown claim"):
        evidence.judge("no-such-claim")
    with pytest.raises(ValueError, match="verdict must be one of"):
        Judgement("maybe", "")


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
    assert re.search(r"^ 4  denoising: holds\n    The paper's Lemma 4.1", out, re.M)
    assert out.endswith(f"{ledger().counts()['fails']} fails\n")
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

"""The ledger: verdicts come from stored results, and no chapter states another one."""

import re
from dataclasses import replace

import numpy as np
import pytest
from chapters import CHAPTERS, text

import evidence
from evidence import sensitivity
from evidence.claim import assured
from evidence.results import Result, load_result, save

LINE = r"\*\*Verdict \(([A-Za-z0-9-]+)\): (.+?)\.\*\*"
STATED = [(p, *found) for p in CHAPTERS for found in re.findall(LINE, text(p))]


def contradictions(stated, verdicts):
    """Sentences (chapter, claim, verdict) that the ledger does not bear out."""
    return [(p.stem, c, v, verdicts.get(c)) for p, c, v in stated if verdicts.get(c) != v]


def test_chapters_state_the_verdicts_of_the_ledger():
    assert STATED
    assert contradictions(STATED, evidence.ledger().verdicts()) == []


def test_every_tested_claim_is_stated_in_its_chapter():
    stated = {(int(p.name[:2]), claim) for p, claim, _ in STATED}
    tested = [c for c, found in evidence.ledger().rows if found.verdict != "not tested yet"]
    assert [c.id for c in tested if (c.chapter, c.id) not in stated] == []


def test_the_comparison_sees_another_verdict():
    path, claim, verdict = STATED[0]
    other = next(v for v in evidence.VERDICTS if v != verdict)
    assert contradictions([(path, claim, other)], evidence.ledger().verdicts())
    assert contradictions([(path, "no-such-claim", verdict)], evidence.ledger().verdicts())


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
    save(Result("statements", {}, [{"statement": "Lemma 4.1"}], arrays), tmp_path)
    found = evidence.judge("denoising", tmp_path)
    assert (found.verdict == "holds") == passed


# how sure a verdict is


def toy(trials=20, middle=0.0, **config):
    """Scores (points, checkpoints, trials): positive in the first half of the trials only."""
    points = [{"rate": r, "bias": b, "steps": "gd"} for r in (0.1, 0.2, 0.4) for b in (False, True)]
    scores = np.tile(np.where(np.arange(trials) < trials / 2, 1.0, -1.0), (6, 3, 1)) + middle
    arrays = {"scores": scores, "steps": np.arange(6), "seconds": np.ones(6)}
    return Result("toy", {"trials": trials, "hidden": 8} | config, points, arrays)


def positive(results):
    run = results["toy"]
    good = (run["scores"] > 0).mean() > 0.4
    return evidence.Judgement("holds" if good else "fails", f"{len(run.arrays)} arrays")


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


def test_an_axis_is_not_guessed(monkeypatch):
    run = toy(trials=4)
    run.arrays["both"] = np.zeros((6, 4, 4))
    assert sensitivity.halves(run) is None
    monkeypatch.setitem(sensitivity.AXES, "toy", 1)
    assert sensitivity.halves(run)[0]["both"].shape == (6, 2, 4)


def test_every_stored_result_of_a_claim_can_be_split():
    names = {name for c in evidence.CLAIMS.values() if c.judge for name in c.needs}
    stuck = []
    for name in sorted(names):
        try:
            run = load_result(name)
        except FileNotFoundError:
            continue
        if sensitivity.trials(run) >= 4 and sensitivity.halves(run) is None:
            stuck.append(name)
    assert stuck == []


def test_blocks_of_trials_are_split_by_points():
    points = [{"first": 10 * i, "trials": 10} for i in range(4)]
    run = Result("blocks", {"trials": 40}, points, {"scores": np.arange(8).reshape(4, 2)})
    first, second = sensitivity.halves(run)
    assert second.settings == points[2:]
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
    run = replace(toy(), config={"hidden": 8}, settings=[{"rate": 1}] * 6)
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
    claim = evidence.Claim("toy", "positive", 1, ("toy",), positive)
    save(whole, tmp_path)
    assert "one size only (hidden 8)" in evidence.judge(claim, tmp_path).sensitivity
    save(replace(half, name="toy-half"), tmp_path)
    assert evidence.judge(claim, tmp_path).sensitivity == same


def test_what_a_judge_says_replaces_the_list_of_settings():
    def judge(results):
        return evidence.Judgement("fails", "", "said by the judge")

    found = assured(judge, {"toy": toy()}).sensitivity
    assert "tenths of 20 trials; said by the judge; one size only" in found
    assert "rate" not in found
    proof = assured(judge, {"toy": Result("toy", {}, [{"statement": "a"}, {"statement": "b"}], {})})
    assert proof.sensitivity == "said by the judge"
    untested = assured(lambda results: evidence.Judgement("not tested yet", "–"), {"toy": toy()})
    assert untested.sensitivity == ""


def test_settings_are_counted_by_their_values():
    points = toy().settings
    found = sensitivity.tally(points, range(6), [1, 3])
    assert found == "true in 2 of 6 settings: rate 0.1 1/2, 0.2 1/2, 0.4 0/2; bias no 0/3, yes 2/3"
    assert sensitivity.tally(points, [0, 1], []) == "true in none of 2 settings (bias no, yes)"
    assert sensitivity.tally(points, [0, 1], [0, 1]) == "true in all of 2 settings (bias no, yes)"


def test_every_tested_claim_says_how_sure_it_is():
    for claim, found in evidence.ledger().rows:
        assert (found.sensitivity == "") == (found.verdict == "not tested yet"), claim.id
    sure = {c.id: f.sensitivity for c, f in evidence.ledger().rows if evidence.CLAIMS[c.id].needs}
    assert sure["denoising"].startswith("proved")
    assert sure["linear-rank"].startswith("settled by a counterexample")
    assert re.search(r"of 2 halves .* of \d+ trials", sure["implicit-bias"])


def test_ledger_displays():
    table = evidence.ledger()
    page = table._repr_html_()
    assert page.count("<tr id=") == len(evidence.CLAIMS)
    assert sum(table.counts().values()) == len(evidence.CLAIMS)
    assert "denoising" in repr(table)
    assert page.count("<th scope='col'>") == 5
    assert page.count("<td>") == 5 * len(evidence.CLAIMS)
    assert "how sure" in page
    assert "10 of 10 tenths" in page
    with pytest.raises(ValueError, match="unknown claim"):
        evidence.judge("no-such-claim")
    with pytest.raises(ValueError, match="verdict must be one of"):
        evidence.Judgement("maybe", "")

"""The ledger: verdicts come from stored results, and no chapter states another one."""

import re

import pytest
from chapters import CHAPTERS, text

from subspace_lib import claims
from subspace_lib.experiments import Result, save

LINE = r"\*\*Verdict \(([A-Za-z0-9-]+)\): (.+?)\.\*\*"
STATED = [(p, *found) for p in CHAPTERS for found in re.findall(LINE, text(p))]


def contradictions(stated, verdicts):
    """Sentences (chapter, claim, verdict) that the ledger does not bear out."""
    return [(p.stem, c, v, verdicts.get(c)) for p, c, v in stated if verdicts.get(c) != v]


def test_chapters_state_the_verdicts_of_the_ledger():
    assert STATED
    assert contradictions(STATED, claims.ledger().verdicts()) == []


def test_every_tested_claim_is_stated_in_its_chapter():
    stated = {(int(p.name[:2]), claim) for p, claim, _ in STATED}
    tested = [c for c, found in claims.ledger().rows if found.verdict != "not tested yet"]
    assert [c.id for c in tested if (c.chapter, c.id) not in stated] == []


def test_the_comparison_sees_another_verdict():
    path, claim, verdict = STATED[0]
    other = next(v for v in claims.VERDICTS if v != verdict)
    assert contradictions([(path, claim, other)], claims.ledger().verdicts())
    assert contradictions([(path, "no-such-claim", verdict)], claims.ledger().verdicts())


def test_without_results_nothing_is_claimed(tmp_path):
    verdicts = claims.ledger(tmp_path).verdicts()
    assert set(verdicts.values()) == {"not tested yet"}


def test_a_damaged_result_is_an_error(tmp_path):
    (tmp_path / "statements.npz").write_bytes(b"PK truncated")
    with pytest.raises(ValueError, match="damaged or truncated"):
        claims.judge("denoising", tmp_path)


@pytest.mark.parametrize("passed", [True, False])
def test_a_failed_check_takes_the_verdict_away(tmp_path, passed):
    import numpy as np

    arrays = {
        "instances": np.array([10]),
        "violations": np.array([0 if passed else 3]),
        "controls": np.array([2]),
        "broken": np.array([2]),
        "passed": np.array([passed]),
    }
    save(Result("statements", {}, [{"statement": "Lemma 4.1"}], arrays), tmp_path)
    found = claims.judge("denoising", tmp_path)
    assert (found.verdict == "holds") == passed


def test_ledger_displays():
    table = claims.ledger()
    page = table._repr_html_()
    assert page.count("<tr id=") == len(claims.CLAIMS)
    assert sum(table.counts().values()) == len(claims.CLAIMS)
    assert "denoising" in repr(table)
    with pytest.raises(ValueError, match="unknown claim"):
        claims.judge("no-such-claim")
    with pytest.raises(ValueError, match="verdict must be one of"):
        claims.Judgement("maybe", "")

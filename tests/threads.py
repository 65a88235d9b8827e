"""``make threads``: one, two and four threads give the same verdicts, at the quick size.

    python tests/threads.py [NAME ...]

Every experiment that needs no data from elsewhere runs under each count, and every claim is judged
from what came out. Numbers may differ in their last digits; verdicts, and the statements that
passed, may not.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from threadpoolctl import threadpool_limits

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else each set that is not here is tried for minutes
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "book")]
from evidence.claim import CHECKED, claims, judge  # noqa: E402
from evidence.experiment import experiments, run  # noqa: E402
from evidence.results import HALF, load_result, save  # noqa: E402


def said(claim, folder):
    try:
        return judge(claim, folder).verdict
    except ValueError as error:  # too small to be judged
        return f"cannot be judged: {type(error.__cause__).__name__}"


def verdicts(threads, names):
    """Claim → verdict, and the statements that passed, from runs under so many threads."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads), TemporaryDirectory() as folder:
        for name in names:
            try:
                save(run(name), folder)
            except (OSError, ValueError, ImportError) as error:
                print(f"left out: {name} ({str(error).splitlines()[0]})")
        found = {claim.id: said(claim, folder) for claim in claims()}
        if CHECKED in names:
            stored = load_result(CHECKED, folder)
            slugs = (setting["statement"] for setting in stored.settings)
            found |= dict(zip(slugs, stored["passed"].tolist(), strict=True))
        return found


def main(names):
    every = [name for name in experiments() if not name.endswith(HALF)]
    found = {}
    for threads in (1, 2, 4):
        found[threads] = verdicts(threads, names or every)
        judged = {key: v for key, v in found[threads].items() if v != "not tested yet"}
        print(f"{threads} threads: {len(judged)} judged", flush=True)
    differ = [key for key in found[1] if len({str(found[n][key]) for n in found}) > 1]
    for key in differ:
        print(key, *(f"{n}: {found[n][key]}" for n in found), sep="; ")
    return f"{len(differ)} differ" if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

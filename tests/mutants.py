"""``make mutants``: small changes to the code, each of which some test should notice.

    python tests/mutants.py [--number 300] [--seed 0] [--workers 1] [--only FILES] [--tests PATHS]
                            [--kept FOLDER]

First the fast tests run once, and which lines each of them executes is kept. Then mutants of the
library and of the evidence's shared floor are drawn. Each is imported in a fork, with the tests
that execute its line and nothing else, up to the first that fails. What is done is kept in
_build/mutants: the same command goes on where it stopped. A mutant that survives lacks a test, or
it is equivalent; tests/equivalent.txt has those that are, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.machinery import SourceFileLoader
from multiprocessing import get_context
from pathlib import Path
from resource import RLIMIT_CPU, setrlimit
from signal import SIGXCPU
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "_build/mutants"
SUITE = ("tests/lib", "tests/evidence", "tests/book/test_number.py", "tests/book/test_workbench.py")
OPTIONS = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not browser", f"--rootdir={ROOT}"]
LOOKS = ("_palette.py", "figures.py", "cards.py", "formulas.py")  # what is seen, not computed
HEAVY = ("numpy", "scipy.linalg", "torch", "sklearn.cluster", "matplotlib.pyplot", "hypothesis")
LONG = 20.0  # seconds of a test from which on it is left out
BUDGET = 120.0  # seconds of the tests for one mutant: those of its module first, then the quickest
PATIENCE = 3  # times their seconds (watched, so already slow), after which a mutant hangs
WAITS = 10  # times as long for one that does not even compute
NO_TESTS = 5  # pytest's exit status: no test executes the line, so none notices

SWAPS: list[tuple[type, type]] = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)]
SWAPS += [(ast.In, ast.NotIn), (ast.Is, ast.IsNot), (ast.Add, ast.Sub), (ast.Mult, ast.Div)]
SWAPS += [(ast.And, ast.Or), (ast.BitAnd, ast.BitOr)]
OTHER = dict(SWAPS) | {b: a for a, b in SWAPS} | {ast.USub: ast.UAdd}
OTHER |= dict.fromkeys((ast.Pow, ast.FloorDiv, ast.Mod), ast.Mult)
PAIRS = [("max", "min"), ("amax", "amin"), ("argmax", "argmin"), ("any", "all"), ("sum", "mean")]
NAMES = dict(PAIRS) | {b: a for a, b in PAIRS}
DROPPED = ("abs", "clamp", "clamp_min", "clamp_max", "clip", "sqrt", "square")  # x.abs() → x.conj()


def changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    """What may be done to a node, in place."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            yield partial(_operator, place=i, other=OTHER[type(op)])
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.UnaryOp)) and type(node.op) in OTHER:
        yield lambda n: setattr(n, "op", OTHER[type(n.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield lambda n: setattr(n, "value", _another(n.value))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Call):
        kind = "attr" if isinstance(node.func, ast.Attribute) else "id"
        name = getattr(node.func, kind, "")
        if name in NAMES:
            yield lambda n: setattr(n.func, kind, NAMES[name])
        if name in DROPPED and kind == "attr":
            yield _without


def _operator(node: Any, place: int, other: type) -> None:
    node.ops[place] = other()


def _another(value: float) -> float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value or 1.0


def _without(node: Any) -> None:
    module = isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "torch")
    node.func.attr, node.args, node.keywords = "conj", node.args[:1] if module else [], []


@dataclass(frozen=True)
class Mutant:
    """One change: the ``option``-th that may be done to the ``index``-th node of a file."""

    path: str
    index: int
    option: int
    line: int
    function: str
    says: str
    lines: tuple[int, ...]  # a test that executes one of them may notice; none: any of the file

    @property
    def key(self) -> str:
        text = (ROOT / self.path).read_bytes()
        return f"{self.path} {self.index} {self.option} {hashlib.sha256(text).hexdigest()[:12]}"

    @property
    def name(self) -> str:
        return f"{self.path} | {self.function} | {self.says}"

    def tree(self) -> ast.Module:
        tree = ast.parse((ROOT / self.path).read_text("utf-8"))
        node = list(ast.walk(tree))[self.index]
        list(changes(node))[self.option](node)
        return ast.fix_missing_locations(tree)


def mutants(path: Path) -> Iterator[Mutant]:
    """All of one file; none in messages, annotations, decorators and what is shown."""
    text = path.read_text("utf-8")
    tree, rows = ast.parse(text), text.splitlines()
    home, skipped = _homes(tree)
    for index, node in enumerate(ast.walk(tree)):
        for option, change in enumerate(changes(node) if node not in skipped else ()):
            statement, function = home[node]
            part, twin = getattr(node, "test", node), deepcopy(node)
            change(twin)
            before, after = ast.unparse(part), ast.unparse(getattr(twin, "test", twin))
            if isinstance(node, ast.Constant):  # a number alone says little
                before = f"{rows[node.lineno - 1].strip()}: {before} at {node.col_offset}"
            yield Mutant(
                path.relative_to(ROOT).as_posix(),
                index,
                option,
                part.lineno,
                getattr(function, "name", ""),
                " ".join(f"{before} → {after}".split()),
                _lines(part, statement, function),
            )


def _homes(tree: ast.Module) -> tuple[dict[ast.AST, tuple[Any, Any]], set[ast.AST]]:
    """Node → its statement and its function; and the nodes that are left as they are."""
    home: dict[ast.AST, tuple[Any, Any]] = {tree: (None, None)}
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        statement, function = home[node]
        hidden = [*getattr(node, "decorator_list", []), getattr(node, "returns", None)]
        hidden += [getattr(node, "annotation", None)]
        name = str(getattr(node, "name", ""))
        shown = isinstance(node, (ast.Raise, ast.JoinedStr)) or "repr" in name
        shown = shown or name.startswith("plot")  # what is seen, as in LOOKS
        silent = shown or node in skipped
        for child in ast.iter_child_nodes(node):
            home[child] = (
                child if isinstance(child, ast.stmt) else statement,
                child if isinstance(child, ast.FunctionDef) else function,
            )
            if silent or child in hidden:
                skipped.add(child)
    return home, skipped


def _lines(node: Any, statement: Any, function: Any) -> tuple[int, ...]:
    if statement is function and function is not None:  # a default: whoever enters sees it
        return tuple(range(function.body[0].lineno, function.end_lineno + 1))
    if function is None:
        return ()
    simple = not hasattr(statement, "body")
    return (*([statement.lineno] if simple else []), *range(node.lineno, node.end_lineno + 1))


def files() -> list[Path]:
    found = [*(ROOT / "subspace_lib").rglob("*.py"), *(ROOT / "book/evidence").glob("*.py")]
    return sorted(path for path in found if path.name not in LOOKS)


# which test executes which line


class Watch:
    """A plugin: the lines that each test executes, and its seconds if it passed."""

    def __init__(self) -> None:
        from coverage import Coverage

        names = {str(path) for path in files()}
        self.cover = Coverage(data_file=None, include=sorted(names))
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.cover.switch_context(item.nodeid)
        begin = time.process_time()
        yield
        if item.nodeid in self.seconds:  # whatever else the machine does meanwhile
            self.seconds[item.nodeid] = time.process_time() - begin

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = report.duration


def watched(suite: list[str], pipe: Any) -> None:
    """In a fork: the fast tests, once."""
    plugin = Watch()
    plugin.cover.start()
    pytest.main([*OPTIONS, *suite], plugins=[plugin])
    plugin.cover.stop()
    found, data = {}, plugin.cover.get_data()
    for path in files():
        by_line = data.contexts_by_lineno(str(path))
        found[path.relative_to(ROOT).as_posix()] = {
            line: [t for t in tests if plugin.seconds.get(t, LONG) < LONG]
            for line, tests in by_line.items()
        }
    pipe.send({"seconds": plugin.seconds, "lines": found})


Lines = dict[str, dict[int, list[str]]]  # file → line → tests


def seen(suite: list[str], folder: Path) -> tuple[dict[str, float], Lines]:
    """Test → seconds, and file → line → tests; made once for the code as it is."""
    code = [*files(), *(p for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__))]
    facts = [" ".join(suite).encode(), *(path.read_bytes() for path in sorted(code))]
    digest = hashlib.sha256(b"".join(facts)).hexdigest()[:12]
    kept = folder / f"lines-{digest}.json"
    if not kept.exists():
        print("Which test executes which line: every fast test runs once ...", flush=True)
        here, there = get_context("fork").Pipe()
        process = get_context("fork").Process(target=watched, args=(suite, there))
        process.start()
        there.close()
        kept.parent.mkdir(parents=True, exist_ok=True)
        found = here.recv()
        process.join()
        if not found["seconds"]:
            sys.exit("no test passed, so no mutant can be judged: mend the tests first")
        kept.write_text(json.dumps(found), "utf-8")
    found = json.loads(kept.read_text("utf-8"))
    lines = {p: {int(k): v for k, v in found["lines"][p].items()} for p in found["lines"]}
    return found["seconds"], lines


# one mutant


class Chosen:
    """A plugin: these tests only, the quickest first."""

    def __init__(self, tests: list[str]) -> None:
        self.place, self.failed = {test: i for i, test in enumerate(tests)}, ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid in self.place]
        items.sort(key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def attempt(mutant: Mutant, tests: list[str], limit: float, pipe: Any) -> None:
    """In a fork: import the mutant, run the tests, send who noticed ("" for nobody).

    limit: seconds of computing, whatever else the machine does meanwhile; then it is killed.
    """
    setrlimit(RLIMIT_CPU, (int(limit), int(limit) + 5))
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    real, tree = SourceFileLoader.get_code, mutant.tree()

    def get_code(loader: Any, name: str) -> Any:
        if Path(loader.path) == ROOT / mutant.path:
            return compile(tree, loader.path, "exec")
        return real(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    plugin = Chosen(tests)
    paths = sorted({str(ROOT / test.partition("::")[0]) for test in tests})
    try:
        if any("evidence" in path for path in paths):
            memory: Any = import_module("evidence.remembered")  # which is of the code as it was
            memory._read, memory._write = dict, lambda values: None
    except Exception:
        pipe.send("the import")
        return
    code = pytest.main([*OPTIONS, "-x", *paths], plugins=[plugin])
    pipe.send(plugin.failed or ("" if code in (0, NO_TESTS) else f"the collection ({code})"))


def verdict(mutant: Mutant, tests: list[str], limit: float) -> Iterator[dict[str, Any] | None]:
    """None while it runs, then what came out."""
    begin = time.monotonic()
    here, there = get_context("fork").Pipe()
    process = get_context("fork").Process(target=attempt, args=(mutant, tests, limit, there))
    process.start()
    there.close()
    while not here.poll() and time.monotonic() - begin < WAITS * limit:
        yield None
    try:
        by = here.recv() if here.poll() else "the clock"
    except EOFError:
        process.join()
        by = "the clock" if process.exitcode == -SIGXCPU else "a crash"
    process.kill()
    process.join()
    seconds = round(time.monotonic() - begin, 1)
    yield {"by": by, "tests": len(tests), "seconds": seconds}


def chosen(mutant: Mutant, lines: Lines, seconds: dict[str, float]) -> tuple[list[str], float]:
    """The tests that execute its line, as many as the budget allows, and what they take."""
    here, found, total = lines.get(mutant.path, {}), list[str](), 0.0
    every = {test for n in mutant.lines or here for test in here.get(n, [])}
    stem = Path(mutant.path).stem.strip("_")
    if not mutant.lines or not every:  # a test may read a constant, or what an import has made
        named = {t: (ROOT / t).read_text("utf-8") for t in {t.partition("::")[0] for t in seconds}}
        every |= {t for t in seconds if re.search(rf"\b{stem}\b", named[t.partition("::")[0]])}
    for test in sorted(every, key=lambda t: (stem not in t.partition("::")[0], seconds[t], t)):
        if total + seconds[test] <= BUDGET:
            found.append(test)
            total += seconds[test]
    return found, total


def _lot(seed: int, name: str) -> str:
    """By which mutants are drawn: the same ones again after an edit elsewhere."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default=".", help="files whose path matches it")
    parser.add_argument("--tests", nargs="+", default=SUITE, metavar="PATH")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where what is done is kept")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ.pop("BOOK_RESULTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer than most tests
    sys.path[:0] = [str(ROOT), str(ROOT / "book")]
    for name in HEAVY:  # once, before the forks
        import_module(name)
    seconds, lines = seen([*options.tests], options.kept)
    every = [m for path in files() if re.search(options.only, str(path)) for m in mutants(path)]
    drawn = sorted(every, key=lambda mutant: _lot(options.seed, mutant.name))[: options.number]
    log = options.kept / "done.json"
    done: dict[str, Any] = json.loads(log.read_text("utf-8")) if log.exists() else {}
    todo = [mutant for mutant in drawn if mutant.key not in done]
    print(f"{len(drawn)} of {len(every)} mutants, {len(todo)} to do", flush=True)
    running: list[tuple[Mutant, Iterator[Any]]] = []
    while todo or running:
        while todo and len(running) < options.workers:
            tests, total = chosen(todo[0], lines, seconds)
            limit = 60 + PATIENCE * total
            running.append((todo[0], verdict(todo.pop(0), tests, limit)))
        for pair in list(running):
            if (found := next(pair[1])) is not None:
                running.remove(pair)
                done[pair[0].key] = found
                log.write_text(json.dumps(done, indent=0), "utf-8")
                mark = "noticed" if found["by"] else "SURVIVED"
                print(f"{mark:9}{found['seconds']:6.1f} s {pair[0].line:5} {pair[0].name}")
                sys.stdout.flush()
        time.sleep(0.1)
    return report(drawn, done)


def report(drawn: list[Mutant], done: dict[str, Any]) -> int:
    """The survivors, and the share of the others that some test noticed."""
    text = Path(__file__).with_name("equivalent.txt").read_text("utf-8")
    same = {line.rsplit(" | ", 1)[0] for line in text.splitlines() if not line.startswith("#")}
    counted = [mutant for mutant in drawn if mutant.name not in same]
    left = [mutant for mutant in counted if not done[mutant.key]["by"]]
    for mutant in sorted(left, key=lambda m: (m.path, m.line)):
        print(f"line {mutant.line}, of {done[mutant.key]['tests']} tests: {mutant.name}")
    share = 1 - len(left) / max(1, len(counted))
    noticed = len(counted) - len(left)
    print(
        f"{noticed} of {len(counted)} noticed ({share:.1%}); {len(drawn) - len(counted)} equivalent"
    )
    return 0 if share >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())

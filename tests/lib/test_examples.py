"""Every example in a docstring prints what it says, and the names one meets first have one."""

import doctest
import inspect
from pkgutil import iter_modules

import matplotlib.pyplot as plt
import pytest

import subspace_lib as sl

MODULES = [m.name for m in iter_modules(sl.__path__) if not m.name.startswith("_")]


def public(module):
    """Name → function or class: those that the module lists, else those written in it."""
    kinds = {
        name: obj
        for name, obj in vars(module).items()
        if inspect.isfunction(obj) or inspect.isclass(obj)
    }
    if hasattr(module, "__all__"):
        return {name: obj for name, obj in kinds.items() if name in module.__all__}
    return {
        name: obj
        for name, obj in kinds.items()
        if obj.__module__ == module.__name__ and not name.startswith("_")
    }


NAMES = {
    f"{module}.{name}": obj
    for module in MODULES
    for name, obj in public(getattr(sl, module, None)).items()
}
EXAMPLES = [path for path, obj in NAMES.items() if ">>>" in (obj.__doc__ or "")]


def run(doc, names, path):
    """The names that the examples leave; fails where one prints something else than it says."""
    examples = doctest.DocTestParser().get_examples(doc)
    test, said = doctest.DocTest(examples, names, path, None, None, doc), []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False).run(
        test, out=said.append, clear_globs=False
    )
    plt.close("all")
    assert tried > 0
    assert failed == 0, "".join(said)
    return test.globs


@pytest.fixture(scope="module")
def start():
    """What every example may use: the names of the package's own example."""
    return run(sl.__doc__, {}, "sl")


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_example_prints_what_it_says(path, start):
    run(NAMES[path].__doc__, start, path)


def test_the_names_at_the_top_have_examples():
    top = {name: getattr(sl, name) for name in sl.__all__}
    without = [n for n, obj in top.items() if callable(obj) and ">>>" not in (obj.__doc__ or "")]
    assert without == []


def test_every_module_has_an_example_and_every_name_a_sentence():
    silent = [m for m in MODULES if not any(path.startswith(f"{m}.") for path in EXAMPLES)]
    assert silent == []
    assert [path for path, obj in NAMES.items() if not inspect.getdoc(obj)] == []

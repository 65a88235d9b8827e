"""A module's names as its docstrings have them: signature, one line, and the example, run now."""

from __future__ import annotations

import doctest
import html
import inspect
import re
import sys
from types import GenericAlias, ModuleType
from typing import TYPE_CHECKING, Any

from page.figures import drawn

if TYPE_CHECKING:
    from IPython.display import HTML

SHORT = "sl"  # as every chapter imports the library


def reference(module: ModuleType, *names: str) -> HTML:
    """``names`` of a module, else all its public ones: those with an example, then the others.

    What the example in the package's own docstring defines, all others may use.
    Raises ValueError when a name that was asked for has no example, and when an example fails or
    prints something else than its docstring says.
    """
    from IPython.display import HTML

    package = sys.modules[module.__name__.partition(".")[0]]
    path = ".".join([SHORT, *module.__name__.split(".")[1:]])
    _, start = _run(SHORT, package.__doc__ or "", {})
    shown = [] if names else [f"<p>{_first(module.__doc__ or '')}</p>"]
    others: list[str] = []
    bare: list[str] = []
    for name in names or public_names(module):
        obj, doc = getattr(module, name), _doc(getattr(module, name))
        if not names and name in package.__all__:
            others.append(f'<li><a href="#{name}"><code>{SHORT}.{name}</code></a>: above</li>')
        elif ">>>" in doc:
            shown.append(_entry(f"{path}.{name}", obj, doc, start))
        elif names:
            raise ValueError(f"the docstring of {path}.{name} needs an example, lines with >>>")
        elif doc:
            others.append(_line(f"<code>{path}.{name}</code>", doc))
        else:
            bare.append(f"<code>{path}.{name}</code>")
    others += [f"<li>{', '.join(bare)}</li>"] if bare else []
    also = f"<p>Also here:</p><ul>{''.join(others)}</ul>" if others else ""
    return HTML(f'<div class="reference">{"".join(shown)}{also}</div>')


def example(obj: Any) -> HTML:
    """The example in the docstring of ``obj``, with what it prints now. Raises as ``reference``."""
    from IPython.display import HTML

    return HTML(f'<div class="reference">{_run(SHORT, inspect.getdoc(obj) or "", {})[0]}</div>')


def public_names(module: ModuleType) -> list[str]:
    """What the module lists as public, else the functions and classes written in it."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, obj in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(obj) or inspect.isclass(obj))
        and obj.__module__ == module.__name__
    ]


def _doc(obj: Any) -> str:
    if isinstance(obj, GenericAlias):  # whose docstring is Python's own
        return f"``{obj}``."
    return (inspect.getdoc(obj) or "") if callable(obj) or isinstance(obj, property) else ""


def _entry(path: str, obj: Any, doc: str, start: dict[str, Any]) -> str:
    anchor, name = path.partition(".")[2], path.rpartition(".")[2]
    first, *others = [block for block in doc.split("\n\n") if not block.startswith(">>>")]
    found = inspect.signature(obj)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    call = f"{name}{found.replace(parameters=bare, return_annotation=inspect.Signature.empty)}"
    shaped = re.sub("([._])", r"\1<wbr>", path)  # where a long name may go on in the next line
    shown, _ = _run(path, doc, start)
    more = "".join(map(_paragraphs, others)) + (_members(obj) if inspect.isclass(obj) else "")
    return (
        f'<h3 id="{anchor}"><code>{shaped}</code>'
        f'<a class="headerlink" href="#{anchor}" title="Link to this name">#</a></h3>'
        f"{_code(call, 'python')}<p>{_words(first)}</p>{shown}"
        + (f"<details><summary>In full</summary>{more}</details>" if more else "")
    )


def _first(doc: str) -> str:
    return _words(inspect.cleandoc(doc).split("\n\n")[0])


def _line(name: str, doc: str) -> str:
    return f"<li>{name}: {_first(doc)}</li>"


def _members(kind: type) -> str:
    """Public methods and properties that the library wrote, each with its first paragraph."""
    house = kind.__module__.partition(".")[0]
    found = {
        name: _line(f"<code>.{name}</code>", _doc(member))
        for c in reversed(kind.__mro__)
        if c.__module__.partition(".")[0] == house
        for name, member in vars(c).items()
        if not name.startswith("_") and _doc(member)
    }
    return f"<ul>{''.join(found.values())}</ul>" if found else ""


def _paragraphs(block: str) -> str:
    """A line that begins as "name: …" or "Raises …" begins a paragraph; a table stays as it is."""
    if re.search(r"^ +\S.*?\S {2,}\S", block, re.M):
        return f"<pre>{html.escape(block, quote=False)}</pre>"
    parts = re.split(r"\n(?=\w+(?:, \w+)*:\s|Returns |Raises |Source)", block)
    return "".join(f"<p>{_words(part)}</p>" for part in parts)


def _words(text: str) -> str:
    text = html.escape(" ".join(text.split()), quote=False)
    text = re.sub(r"``(.+?)``", r"<code>\1</code>", text)
    return re.sub(r"doi:(10\.[^\s,;)]+[^\s,;).])", r'<a href="https://doi.org/\1">doi:\1</a>', text)


def _code(text: str, language: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    return str(highlight(text, get_lexer_by_name(language), HtmlFormatter()))


class _Runner(doctest.DocTestRunner):
    """Keeps what each example printed; the first that is not true stops the page."""

    lines: list[str]

    def report_start(self, out: Any, test: Any, example: Any) -> None:
        first, *others = example.source.rstrip().split("\n")
        self.lines += [f">>> {first}", *(f"... {line}" for line in others)]

    def report_success(self, out: Any, test: Any, example: Any, got: str) -> None:
        self.lines += got.splitlines()

    def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
        raise ValueError(
            f"the docstring of {test.name} says that {example.source.strip()!r} prints "
            f"{example.want!r}; it prints {got!r}: one of them is wrong"
        )

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, info: Any) -> None:
        raise ValueError(
            f"the example in the docstring of {test.name} fails at {example.source.strip()!r}"
        ) from info[1]


def _run(path: str, doc: str, space: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The docstring's examples with what they print and draw, and the names they leave."""
    examples = doctest.DocTestParser().get_examples(doc)
    test = doctest.DocTest(examples, space, path, None, None, doc)
    runner = _Runner(optionflags=doctest.ELLIPSIS)
    runner.lines = []
    runner.run(test, clear_globs=False)
    shown = _code("\n".join(runner.lines), "pycon")
    plt: Any = sys.modules.get("matplotlib.pyplot")
    for number in plt.get_fignums() if plt else []:
        shown += drawn(plt.figure(number), doc.split("\n\n")[0])
        plt.close(number)
    return shown, test.globs

"""``python -m evidence COMMAND …``: what stands behind the sentences of the book.

check   every numbered statement on random instances, its extremal instance, its controls
list    every experiment, and what its stored result took
run     experiments, by name
ledger  every claim with its verdict, from the stored results
number  files, chapters, statements and what mentions them, in the order of the table of contents

``python -m evidence COMMAND --help`` says more.
"""

import sys
from importlib import import_module
from io import TextIOWrapper

# command → the module whose ``main`` takes what follows it
ROOMS = {
    "check": "check",
    "list": "command",
    "run": "command",
    "ledger": "table",
    "number": "number",
}


def main(arguments: list[str]) -> int:
    chosen, *rest = arguments or ["--help"]
    if chosen in ("-h", "--help"):
        print(__doc__, end="")
        return 0
    if chosen not in ROOMS:
        print(f"the command must be one of {', '.join(ROOMS)}, got {chosen!r}", file=sys.stderr)
        return 2
    room = import_module(f"evidence.{ROOMS[chosen]}")
    return int(room.main(arguments if ROOMS[chosen] == "command" else rest))


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a sign that the terminal lacks becomes "?"
            stream.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:]))

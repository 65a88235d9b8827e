"""``python -m evidence check | list | run NAME …``."""

import sys

from evidence import check, command

if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        sys.exit(check.main(sys.argv[2:]))
    sys.exit(command.main())

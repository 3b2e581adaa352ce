"""``python -m lamson_sqlite_state``: the same as ``lamson-state``, where the script is on no path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

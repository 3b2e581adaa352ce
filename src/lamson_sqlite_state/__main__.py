"""``python -m lamson_sqlite_state`` is ``lamson-state``, also where that script is on no path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m lamson_sqlite_state`` runs ``lamson-state``, even if that script is not on PATH."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

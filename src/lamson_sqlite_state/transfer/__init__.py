"""Imports and exports of states: from the frameworks' shelves, and as JSON Lines or CSV.

Every function works on a live store under load, in bounded memory, and holds up no worker for more
than some milliseconds. Every function may be interrupted at any moment: a second run does the rest.
The command ``lamson-state`` only parses arguments and prints the results of these functions.

    from lamson_sqlite_state.maintenance import ExistingStorage
    from lamson_sqlite_state.transfer import import_shelve

    with ExistingStorage("run/states") as store:
        print(import_shelve(store, "run/old-states"))

Every function can raise a `StorageError`, as every call of a store can.
"""

from ..errors import NotAShelf
from ..shelf import Refused
from ._export import export_rows
from ._formats import Format
from ._import_copy import import_copy
from ._import_result import Imported, OnConflict
from ._import_rows import import_rows
from ._import_shelve import import_shelve
from ._row_error import BadRow

__all__ = [
    "BadRow",
    "Format",
    "Imported",
    "NotAShelf",
    "OnConflict",
    "Refused",
    "export_rows",
    "import_copy",
    "import_rows",
    "import_shelve",
]

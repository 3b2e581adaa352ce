"""A store that must be there already."""

from .storage import SQLiteStorage

__all__ = ["ExistingStorage"]


class ExistingStorage(SQLiteStorage):
    """As `SQLiteStorage`, of a file that must be there: for tools, where a path may be mistyped.

    Where it is missing or empty, or no store, every call raises `NoStore` or `NotAStateFile`, and
    no file or directory is created (but for those that stand beside a store that is there). Unlike
    a ``get`` of a router's, one of a tool should not store START: see `maintenance.find`.

    Args: as `SQLiteStorage`. ``file_mode`` does not matter where every file is there.
    """

    _must_exist = True

"""Opens, watches, reads, writes and closes one database file safely.

This folder promises to the floors above: a call through `handle` has happened entirely or not at
all, in every thread and process. A database that was deleted, replaced, or open in a fork by C code
is noticed before harm is done. An error of SQLite or of the system comes out as a `StorageError`.
"""

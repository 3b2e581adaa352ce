"""One database file: opened, watched, read, written and closed safely.

Promised to the floors above: a call through `handle` has happened entirely or not at all, in
every thread and process; a database that was deleted, replaced or forked past the hooks is
noticed before harm is done; what SQLite or the system raises comes out as a `StorageError`.
"""

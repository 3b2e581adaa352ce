"""`SQLiteStorage`: the states in one SQLite file that threads and processes share.

Public is what `lamson_sqlite_state` itself exports. The folders below are its floors, from the
top; a floor imports only floors below it:

- `check` finds what is wrong with a store. `copies` has backup and restore. An import of the
  package imports neither, because a worker needs neither.
- `bulk` works on many rows, `storage` on one pair at a time.
- `engine` opens, watches, reads, writes and closes one database file safely.
- `coherence` has the cache of states in each process, and the shared counters that keep it right.
- `process` deals with the operating system: the write lock, forks, files, signals.

A module whose name begins with ``_`` is imported by its own folder alone. The modules that a worker
needs evaluate no annotations, because evaluating them took a seventh of the package's import.
"""

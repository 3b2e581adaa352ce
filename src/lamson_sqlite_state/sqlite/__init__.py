"""`SQLiteStorage`: the states in one SQLite file that threads and processes share.

Public is what `lamson_sqlite_state` itself exports. The folders below are its floors, from the
top; a floor imports only floors below it:

- `check` and `copies`: what may be wrong with a store; backup and restore. Importing the package
  imports neither, because a worker needs neither.
- `bulk`: many rows at once. `storage`: one pair at a time.
- `engine`: one database file, opened, watched, read, written and closed safely.
- `coherence`: who wrote last, and the states that a process keeps in memory.
- `process`: what the operating system brings: the write lock, forks, files, signals.

A module whose name begins with ``_`` is imported by its own folder alone. The modules that
importing the package imports do not evaluate their annotations, which took a seventh of the import.
"""

"""Deals with the operating system: locks, forks, signals, files and their errors.

This folder promises to the floors above:

- One writer at a time, in any process (`write_lock`).
- No lock and no connection crosses a fork (`fork`).
- A thread lock is released, whatever a signal handler raises (`reentry`).
- The files of a store are named in one place (`store_paths`). They are made with the right owner
  and mode, and with a name that survives a power cut (`new_files`).
- An error of the system becomes an error that names its remedy (`remedies`).
"""

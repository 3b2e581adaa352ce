"""What the operating system brings, for the floors above to build on.

Promised to them: one writer at a time in any process (`write_lock`); no lock and no connection
crosses a fork (`fork`); a thread lock is let go of whatever a signal handler raises (`reentry`);
the files of a store are named in one place (`store_paths`), and made with the right owner, mode
and lasting name (`new_files`); an error of the system becomes one that names its remedy
(`remedies`).
"""

"""Many rows at once: scanned in pages, changed in batches, spilled to disk.

Promised to the floors above: bounded memory whatever the number of rows, no worker held up for
more than some milliseconds, and no row changed that another process has changed meanwhile.
"""

"""Work on many rows: they are read in chunks, changed in batches, and spilled to disk.

This folder promises to the floors above: memory is bounded, whatever the number of rows. No worker
waits for more than some milliseconds. A row that another process changes meanwhile stays as that
process leaves it.
"""

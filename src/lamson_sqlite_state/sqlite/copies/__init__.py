"""Copies of a store: made whole, verified, restored, while workers run.

Promised to the floors above: a copy is of one instant, and gets its name once it is complete
(`atomic_file`); a copy is opened for reading only, and stays as it was (`snapshot`).
"""

"""Copies of a store: written, verified and restored, while workers run.

This folder promises to the floors above: a copy is of one instant. A file gets its name once it is
complete (`atomic_file`). A copy that is read stays as it was, and so do the files beside it
(`snapshot`).
"""

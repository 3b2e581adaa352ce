"""The cache of states in each process, and the shared counters that keep it right.

This folder promises to the floors above: a state from `cache` is what the database holds at the
moment when the counter is read, because a writer moves the shared counter of the sender whose state
it changes (`counters`).
"""

"""Who wrote last, and the states that a process keeps in memory.

Promised to the floors above: a state from `cache` is what the database holds at the moment its
counter is read, because every writer moves the shared counter of its sender (`counters`).
"""

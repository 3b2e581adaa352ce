"""Who takes part in a round: what a thread calls, the processes from inside and from outside."""

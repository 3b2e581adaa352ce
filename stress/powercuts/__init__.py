"""Power cuts: what a store's directory may hold after one, and whether all that must be is there.

From the top, each module importing only those below it:

    survey       every cut point of every workload
    real         a real file system, cut off while it is written to
    verdicts     a directory opened after a cut, and judged
    recording    a workload run under strace
    workloads    what is recorded, as a programme of its own
    disk         what a cut may leave of the operations so far
    sectors      of a file, which can be there without which
    fates        how a cut is decided
    strace_log   strace's log, as operations
    histories    calls, and which states they make of which
    operations   what can be done to a directory
"""

"""A program that runs another one, and prints what that took.

The kernel counts the memory of whoever forks as the child's, up to its exec. So what forks has to
be small, and this is run with nothing imported that it does not need.

It is called with the program and its arguments, and prints four numbers: the moment
(`time.perf_counter`) of the start, that of the end, seconds of processor time, and the most bytes
that were in memory. Its exit status is the program's.
"""

import os
import sys
import time


def main() -> int:
    """Run it, with its output nowhere, and return its exit status."""
    start = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.execv(sys.argv[1], sys.argv[1:])
        finally:
            os._exit(127)
    _, status, used = os.wait4(child, 0)
    end = time.perf_counter()
    unit = 1 if sys.platform == "darwin" else 1024
    print(start, end, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

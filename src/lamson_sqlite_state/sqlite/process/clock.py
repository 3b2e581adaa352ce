"""The real clocks of the machine, even if a test has frozen or shifted those of `time`."""

import time
from typing import Final


class Clock:
    """Real time, which decides when waiting ends and when the cache is revalidated.

    freezegun replaces the functions of the module `time`, also in each module that has imported
    one. It does not look into classes, so the functions are kept in a class. (time-machine replaces
    them everywhere; a time that has gone back is not believed, see `Cache.revalidated_at`.)

    Attributes:
        monotonic: seconds, as `time.monotonic`.
        time_ns: Unix time in ns, as `time.time_ns`. The time at which a state was set comes from
            `time` itself, because a test that freezes the clock means that time.
    """

    monotonic: Final = time.monotonic
    time_ns: Final = time.time_ns

"""The clocks of the machine, also where a test has frozen or shifted those of `time`."""

import time
from typing import Final


class Clock:
    """Real time, by which waiting ends and looks fall due.

    freezegun puts functions of its own into the module `time`, and into each module that holds one
    of its functions. It does not look into classes. (time-machine looks everywhere; what it has
    shifted is not believed, see `Cache.revalidated_at`.)

    Attributes:
        monotonic: seconds, as `time.monotonic`.
        time_ns: Unix time in ns, as `time.time_ns`. When a state was set is asked of `time`
            itself, as that is what a test means.
    """

    monotonic: Final = time.monotonic
    time_ns: Final = time.time_ns

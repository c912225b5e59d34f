"""The real clock."""

import time


class SystemClock:
    """Unix time and real sleep; the wall clock is read once and then advanced steadily."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now_ms(self) -> int:
        """Return Unix time in milliseconds; never goes back while the process lives."""
        return int((self._offset + time.monotonic()) * 1000)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

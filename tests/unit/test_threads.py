"""Background threads of a client."""

import threading

from clientlib.io.kafka import Threads


def test_a_thread_that_fails_begins_again() -> None:
    """Else a client would be deaf for good, by one stray error of the library below."""
    tried: list[int] = []
    served = threading.Event()
    threads = Threads("test")

    def serve() -> None:
        tried.append(1)
        if len(tried) < 2:
            raise TypeError("a stray error")
        served.set()

    threads.start("one", serve)
    assert served.wait(10)
    threads.stop()
    assert len(tried) == 2

"""confluent-kafka at the edge: handles with the right settings, and whether a cluster answers."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from clientlib.protocol.types import Offset
from clientlib.settings import Cluster

log = logging.getLogger("clientlib.kafka")

_DOWN = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - confluent-kafka's public spelling
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
    }
)


_BEGIN_AGAIN_S = 0.5
RENEW_S = 5.0  # ten times the longest pause between two attempts to connect
_NEVER_WORKED_S = 60.0  # it knows no broker yet that it could forget, and to connect costs threads

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public spelling
_TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001 - as above
_BATCH = 2000
_GAPS_S = 0.01
"""How long to wait for offsets that may not be there: compacted away, or markers."""

_Handle = TypeVar("_Handle")


class MonotonicClock:
    """The real clock."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return int(time.time() * 1000)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def unreachable(error: KafkaException) -> bool:
    """Say whether an error means that nobody answered (confluent-kafka's own flag does not)."""
    return error.args[0].code() in _DOWN


class Quiet:
    """Takes a handle's errors: an unreachable standby is our business, told once a minute."""

    def __init__(self, alias: str, what: str) -> None:
        self._alias, self._what = alias, what
        self._next = 0.0

    def __call__(self, error: KafkaError) -> None:
        """Log an error, rate-limited."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 60
            log.info("%s: %s: %s", self._alias, self._what, error.str())


class _OncePerMinute(logging.Filter):
    """Lets librdkafka say the same kind of thing about the same handle once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about one line; its first word is librdkafka's kind (FAIL, REQTMOUT, ...)."""
        kind, now = record.getMessage().partition(" ")[0], time.monotonic()
        if now < self._next.get(kind, 0.0):
            return False
        self._next[kind] = now + 60
        return True


def library_log(what: str) -> logging.Logger:
    """Return the logger for a handle's own messages, limited: a dead standby is no news."""
    logger = logging.getLogger(f"clientlib.rdkafka.{what}")
    if not any(isinstance(known, _OncePerMinute) for known in logger.filters):
        logger.addFilter(_OncePerMinute())
    return logger


def helper_conf(cluster: Cluster, what: str, **extra: Any) -> dict[str, Any]:
    """Return the settings of a handle of our own, which never joins a group."""
    return {
        **cluster.client,
        "client.id": f"failover-{what}",
        "error_cb": Quiet(cluster.alias, what),
        "logger": library_log(what),
        # else librdkafka makes threads for its bootstrap servers anew while all brokers are down,
        # hundreds a second in a process with five clients; we make the handle anew (`Renewed`)
        "metadata.recovery.strategy": "none",
        "reconnect.backoff.max.ms": 500,
        **extra,
    }


def reader(
    cluster: Cluster,
    what: str,
    group: str = "failover-reader",
    extra: Mapping[str, Any] | None = None,
) -> Consumer:
    """Return a consumer for assigned reading and for reading a group's commits."""
    settings = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "allow.auto.create.topics": False,
        "auto.offset.reset": "earliest",
        # what is asked for is there: a broker that waits for more answers nothing else meanwhile
        "fetch.wait.max.ms": 0,
        "enable.partition.eof": True,
        **(extra or {}),
    }
    return Consumer(helper_conf(cluster, what, **settings))


def close_within(handle: Any, seconds: float) -> bool:
    """Close a handle, and wait so long for it; say whether it is closed, else a thread goes on.

    One with commits on their way to a cluster that is gone waits for a minute and more, or for
    ever, and nobody can be told anything by them any more. Raises what ``close`` raises, such as
    what a callback of the application has raised in it.
    """
    raised: list[BaseException] = []

    def close() -> None:
        try:
            handle.close()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            raised.append(error)

    thread = threading.Thread(target=close, name="failover-close", daemon=True)
    thread.start()
    thread.join(seconds)
    for error in raised:
        raise error
    return not thread.is_alive()


def close_behind(handle: Any, unused: Callable[[], object]) -> None:
    """Close a handle in a thread of its own once ``unused`` has returned, however long it takes."""

    def close() -> None:
        unused()
        handle.close()

    threading.Thread(target=close, name="failover-close", daemon=True).start()


def records_of(
    consumer: Consumer,
    start: Offset,
    end: Offset,
    *,
    silent_s: float,
    most: int | None = None,
    whole: bool = False,
) -> Iterator[Message]:
    """Yield the records of the one partition that is assigned, up to ``end`` or where it ends.

    A long log takes as long as it takes: begun again because it is long, it would never end.
    Raises KafkaException: _TIMED_OUT when nothing has come for ``silent_s`` seconds, or when it
    ends before ``end`` and is wanted ``whole``; OFFSET_OUT_OF_RANGE when it ends before ``start``.
    """
    at, deadline = start, time.monotonic() + silent_s
    left = end - start if most is None else most
    while at < end and left > 0:
        # as many as there can be: the call returns with the last of them, and does not wait
        messages = consumer.consume(min(_BATCH, end - at, left), _GAPS_S)
        if messages:
            deadline = time.monotonic() + silent_s
        elif time.monotonic() >= deadline:
            raise _unread(_TIMED_OUT, at, end)
        for message in messages:
            error, offset = message.error(), message.offset() or 0
            if error is not None and error.code() == _EOF:
                if whole and offset < end:  # a new leader does not know yet how far all have it
                    raise _unread(_TIMED_OUT, offset, end)
                return
            if error is not None:
                raise KafkaException(error)
            if offset < start:  # cut short, it is read from its beginning instead
                raise _unread(KafkaError.OFFSET_OUT_OF_RANGE, start, end)
            if offset >= end:
                return
            at = offset + 1
            left -= 1
            yield message


def _unread(code: int, start: Offset, end: Offset) -> KafkaException:
    return KafkaException(KafkaError(code, f"offsets {start} to {end} could not be read"))


class Renewed(Generic[_Handle]):
    """A handle of our own, made when it is needed, and anew when nothing has worked for a while.

    One that has gone deaf (`clientlib.io.pulse`) would not hear its cluster again. For one thread.
    """

    def __init__(
        self,
        make: Callable[[], _Handle],
        close: Callable[[_Handle], Any] = lambda _: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._close, self._now = make, close, now
        self._handle: _Handle | None = None
        self._worked, self._renew_s = 0.0, _NEVER_WORKED_S

    def get(self) -> _Handle:
        """Return the handle."""
        if self._handle is None:
            self._handle = self._make()
            self._worked, self._renew_s = self._now(), _NEVER_WORKED_S
        return self._handle

    @contextmanager
    def used(self) -> Iterator[_Handle]:
        """Give the handle; an error of Kafka inside, or a time-out, says that it did not work."""
        handle = self.get()
        try:
            yield handle
        except (KafkaException, TimeoutError):
            self.says(worked=False)
            raise
        self.says(worked=True)

    def says(self, *, worked: bool) -> None:
        """Take note of whether the handle has worked, where no error tells."""
        if worked:
            self._worked, self._renew_s = self._now(), RENEW_S
        elif self._now() - self._worked >= self._renew_s:
            self.close()

    def close(self) -> None:
        """Let go of the handle; the next use makes another one."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._close(handle)


class Threads:
    """Background threads of one owner, stopped together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads: list[threading.Thread] = []
        self.stopping = threading.Event()

    def start(self, what: str, target: Callable[[], None]) -> None:
        """Start a daemon thread; what an exception ends is logged, and begun again.

        confluent-kafka has been seen to leave an error of a call that succeeded, which came up in
        whatever was done next; a client must not go deaf for the rest of its life by that.
        """

        def run() -> None:
            while True:
                try:
                    target()
                except Exception:
                    log.exception("%s: background thread %s failed", self._name, what)
                else:
                    return
                if self.stopping.wait(_BEGIN_AGAIN_S):
                    return

        thread = threading.Thread(target=run, name=f"{self._name}-{what}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Ask all to stop and wait for them; says whether all have ended.

        A handle that one of them may still be inside must not be closed.
        """
        self.stopping.set()
        deadline = time.monotonic() + timeout
        others = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in others)


def bare(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without our own ``failover.*`` keys."""
    return {key: value for key, value in settings.items() if not key.startswith("failover.")}

"""A producer's intake: records go straight to the cluster while writes are open, else they wait."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from clientlib.io.fast_path import FastPath
from clientlib.io.outgoing import Outgoing, Report, by_header, checked
from clientlib.io.reports import Reports
from clientlib.io.rescue import Again
from clientlib.io.transactions import Transactions, within

IDENTITY = "failover.id"
"""Header of each record with ``failover.record.identity: header``: session and number."""
_DEFAULT_QUEUE = 100_000
_DEFAULT_MAX_BYTES = 1_000_000
_PURGED = KafkaError._PURGE_QUEUE  # noqa: SLF001 - confluent-kafka's public spelling
_FULL = KafkaError._QUEUE_FULL  # noqa: SLF001 - as above


class Intake:
    """Takes the records of one producer, in order.

    ``lock`` guards the way in. ``target`` is the cluster that is written to, empty while none is;
    ``waiting``: what no cluster has got yet. Nothing goes straight through after the time that
    `extend` has set: then ``overdue`` says so. ``ident`` names this producer in its records, if
    ``settings`` ask for that. Raises ConfigurationError for a wrong setting.
    """

    def __init__(self, settings: Mapping[str, Any], ident: str, reports: Reports) -> None:
        self.lock = threading.Lock()
        self.target = ""
        self.waiting: deque[tuple[Outgoing, Report | None]] = deque()
        self.overdue = self.closed = False
        self.transactions: Transactions | None = None
        """Set by whoever makes them, out of this intake."""
        self._reports = reports
        self._direct: Callable[..., None] | None = None
        self._valid_until = 0.0
        self._limit = int(settings.get("queue.buffering.max.messages", _DEFAULT_QUEUE))
        self._max_bytes = int(settings.get("message.max.bytes", _DEFAULT_MAX_BYTES))
        self._session_id = ident if by_header(settings) else ""
        self._numbers = itertools.count()
        self._default_report = settings.get("on_delivery") or settings.get("dr_cb")
        self._fast = FastPath(self._produce_slowly)
        if not self._session_id:
            self._fast.remember(None, reports.reporter(self._default_report))
        self.produce = self._fast.produce

    def _produce_slowly(  # noqa: PLR0917 - the signature is confluent-kafka's
        self,
        topic: str,
        value: Any,
        key: Any,
        partition: int,
        report: Report | None,
        _on_delivery: None,
        timestamp: int,
        headers: Any,
    ) -> None:
        """Take a record with another callback than the last one, or while writes are closed."""
        # Nearly every application gives the same callback each time; a wrapper for each record
        # costs more than all the rest.
        wanted = report or self._default_report
        if self._session_id:
            headers = self._identified(headers)
        deliver = self._reports.reporter(wanted)
        if headers is None and not timestamp:
            self._fast.remember(report, deliver)
        else:
            deliver = self._reports.remembering(wanted, headers, timestamp)
        with self.lock:
            if self._direct is not None:
                if monotonic() < self._valid_until:
                    self._direct(topic, value, key, partition, deliver, None, timestamp, headers)
                    return
                self.out_of_date()
            if self.transactions is not None:
                self.transactions.check_produce()
            # a record's time is when the application produced it, not when it was let through
            timestamp = timestamp or int(time.time() * 1000)
            deliver = self._reports.remembering(wanted, headers, timestamp)
            record = Outgoing(topic, value, key, partition, deliver, None, timestamp, headers)
            self._take(record, wanted)

    def _identified(self, headers: Any) -> list[tuple[str, Any]]:
        """Add what tells a record from an equal one of the same millisecond."""
        listed = headers.items() if isinstance(headers, dict) else headers or ()
        identity = f"{self._session_id};{next(self._numbers)}".encode()
        return [*listed, (IDENTITY, identity)]

    def _take(self, record: Outgoing, report: Report | None) -> None:
        """Keep a record until writes are open; the lock is held."""
        if self.closed:
            raise RuntimeError("Producer has been closed")
        size = sum(len(checked(part)) for part in (record.value, record.key))
        if size > self._max_bytes:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self.waiting) >= self._limit:
            raise BufferError(KafkaError(_FULL, "Local: Queue full"))
        self.waiting.append((record, report))

    # -- open and shut -------------------------------------------------------------------------

    def open(self, handle: Producer) -> bool:
        """Hand over what waits, in order, then let the application write directly.

        Returns whether nothing waits any more.
        """
        with self.lock:
            takes = self.transactions is None or self.transactions.takes_records
            while takes and self.waiting and self._hand_over(handle, *self.waiting[0]):
                self.waiting.popleft()
            if takes and not self.waiting and not self.closed:
                self.let_through(handle)
        return not self.waiting

    def let_through(self, handle: Producer) -> None:
        """Let the application write directly; the lock is held."""
        self._direct = handle.produce if self.transactions is None else within(handle)
        self._fast.open(self._direct, self._valid_until)

    def extend(self, until: float) -> None:
        """Set another time until which records may go straight through."""
        self._valid_until = until
        self._fast.extend(until)

    def out_of_date(self) -> bool:
        """Shut when this process was stopped for so long that nobody waits for it any more."""
        if monotonic() < self._valid_until:
            return False
        self.overdue = True
        self.shut()
        return True

    def shut(self) -> None:
        """Hand nothing over any more; the lock is held."""
        self.close_path()
        if self.transactions is not None:
            self.transactions.shut("writes are closed")

    def close_path(self) -> None:
        """Let no record go straight through any more; the lock is held."""
        self._direct = None
        self._fast.shut()

    @property
    def is_open(self) -> bool:
        """Tell whether records go straight through."""
        return self._direct is not None

    def over(self) -> bool:
        """Tell whether whatever had found the path open has gone through."""
        return self._fast.over()

    # -- what waits ----------------------------------------------------------------------------

    def put_in_front(self, records: list[Again]) -> None:
        """Let records that are written again go before everything that waits."""
        with self.lock:
            for again in reversed(records):
                report = self._reports.written_again(again)
                kept = again.kept
                number = -1 if kept.unsent else kept.partition  # -1: by its key
                record = Outgoing(
                    *(kept.topic, kept.value, kept.key, number),
                    *(report, None, kept.at_ms, again.headers),
                )
                self.waiting.appendleft((record, again.tell))

    def refuse_waiting(self) -> None:
        """Report what waits as purged; the lock is held."""
        waiting, self.waiting = self.waiting, deque()
        for record, report in waiting:
            self._reports.refuse(self.target, record, report, KafkaError(_PURGED))

    def _hand_over(self, handle: Producer, record: Outgoing, report: Report | None) -> bool:
        """Say whether the record is dealt with: handed over, or refused and reported."""
        try:
            handle.produce(*record)
        except BufferError:
            return False
        except KafkaException as error:
            self._reports.refuse(self.target, record, report, error.args[0])
        except (TypeError, ValueError) as error:
            refused = KafkaError(KafkaError.INVALID_RECORD, str(error))
            self._reports.refuse(self.target, record, report, refused)
        return True

"""A producer's delivery reports: told to the application, kept for its next poll, or swallowed.

What a cluster acknowledges goes to the replay buffer. What a cluster that is given up never
acknowledged is not reported at all: it is taken back, to be written elsewhere.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, Message

from clientlib.core.memory import as_bytes
from clientlib.core.replay_buffer import Headers, Kept
from clientlib.io.outgoing import Outgoing, Report, checked, ignore
from clientlib.io.rescue import Again, Rescuer
from clientlib.protocol.types import ClusterAlias

_ALONE_S = 0.005


class Reports:
    """The reports of one producer.

    ``serving`` is held by whoever takes reports from the cluster that is written to: two threads
    would take them in each other's midst, and the replay buffer would have another order than the
    log. ``held``: what came in while the application was not polling. ``cluster``: whose report is
    being told.
    """

    def __init__(self, rescuer: Rescuer) -> None:
        self._rescuer = rescuer
        self.serving = threading.RLock()  # a report may poll
        self.held: deque[tuple[ClusterAlias, Report, Any, Any]] = deque()
        self.cluster: ClusterAlias = ""
        self.taking_back = False
        self._at_once = True
        self._draining: ClusterAlias = ""
        self._looked = 0.0

    def reporter(self, report: Report | None) -> Report:
        """Return what reports now, or keeps it for the application's poll while the agent flushes.

        A function of its own, since it runs for every record: a bound method costs 50 ns more. What
        is kept are `Kept`'s first fields, and not the message.
        """
        reports, held, keep = self, self.held, self._rescuer.keep

        def deliver(error: Any, message: Any) -> None:
            if error is None:
                keep(
                    (
                        message.topic(),
                        message.partition(),
                        message.offset(),
                        message.value(),
                        message.key(),
                        message.timestamp()[1],
                    )
                )
            elif reports.taking_back:
                reports.take_back(message, report, None, 0)
                return
            if report is None:
                return
            if reports._at_once:
                report(error, message)
            else:
                held.append((reports._draining, report, error, message))

        return deliver

    def remembering(self, report: Report | None, headers: Any, timestamp: int) -> Report:
        """Return what reports a record of which the report leaves out headers or timestamp."""
        listed = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        encoded = [(name, as_bytes(value)) for name, value in listed]

        def deliver(error: Any, message: Any) -> None:
            if error is None:
                self._rescuer.keep(Kept.of(message, encoded))
            elif self.taking_back:
                self.take_back(message, report, encoded, timestamp)
                return
            self._tell(report, error, message)

        return deliver

    def written_again(self, again: Again) -> Report:
        """Return what takes the report of a record that is written again."""
        keep = self._rescuer.keep

        def deliver(error: Any, message: Any) -> None:
            if error is None:
                keep(Kept.of(message, again.headers))
            elif self.taking_back:
                kept = again.kept
                self.take_back(message, again.report, again.headers, kept.at_ms)
                return
            again.note(error, message)
            self._tell(again.report, error, message)

        return deliver

    def _tell(self, report: Report | None, error: Any, message: Any) -> None:
        if report is None:
            return
        if self._at_once:
            report(error, message)
        else:
            self.held.append((self._draining, report, error, message))

    def take_back(
        self, message: Any, report: Report | None, headers: Headers | None, timestamp: int
    ) -> None:
        """Keep a record that the given-up cluster never acknowledged: it is written again."""
        now, latency = time.time(), message.latency()
        window, self._looked = (self._looked - latency, now - latency), now
        told = report or ignore
        kept = Kept.of(message, headers, timestamp or int(window[0] * 1000), told)
        self._rescuer.returned.append(kept._replace(window=window, guessed=not timestamp))

    def hold(self, cluster: ClusterAlias, report: Report, error: Any, message: Any) -> None:
        """Keep a report for the application's own next poll."""
        self.held.append((cluster, report, error, message))

    def refuse(
        self, cluster: ClusterAlias, record: Outgoing, report: Report | None, error: KafkaError
    ) -> None:
        """Report a record that was never handed over, from the application's own next poll."""
        if report is not None:
            value, key = checked(record.value), checked(record.key)
            message = Message(topic=record.topic, value=value, key=key, error=error)
            self.hold(cluster, report, error, message)

    def take(
        self,
        target: Callable[[], ClusterAlias],
        served: Callable[[ClusterAlias, float], int],
        wait: float,
    ) -> int:
        """Have the cluster that is written to report; returns what ``served`` does, or 0.

        It is asked for once, by whoever may take reports: it can change while that is waited for,
        and what it reports would be told as another cluster's.
        """
        with self.serving:
            if self.held:  # what the agent has taken meanwhile comes first
                return self.serve()
            cluster = target()
            if not cluster:
                return 0
            self.cluster = cluster
            return served(cluster, wait)

    def told_of(self, cluster: ClusterAlias) -> None:
        """Note whose reports are told from now on."""
        self.cluster = cluster

    def serve(self) -> int:
        """Run the reports that came in while the agent was flushing."""
        for count in itertools.count():
            try:
                self.cluster, report, error, message = self.held.popleft()
            except IndexError:
                return count
            report(error, message)
        raise AssertionError("unreachable")  # pragma: no cover - itertools.count is endless

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the one that takes reports; False if the application does that just now."""
        mine = self.serving.acquire(timeout=_ALONE_S)
        try:
            yield mine
        finally:
            if mine:
                self.serving.release()

    @contextmanager
    def quietly(self, cluster: ClusterAlias, *, take_back: bool = False) -> Iterator[None]:
        """Let the reports that come in wait for the application's own poll.

        ``take_back``: the cluster is given up, and records come back instead of failing.
        """
        if take_back:
            self.taking_back, self._looked = True, time.time()
        self._draining, self._at_once = cluster, False
        try:
            yield
        finally:
            self._at_once = True
            if take_back:
                self.taking_back = False

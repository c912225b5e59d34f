"""Follows the state topic of every cluster: the newest state reaches the clients in milliseconds.

One thread and one read-committed consumer per cluster. A second thread asks the cluster twice a
second where the topic ends; a view is *fresh* while the last such answer, younger than
`FRESH_S`, had been read up to. So a process that was stopped for a while looks before it acts.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from clientlib.io.kafka import RENEW_S, Renewed, Threads, helper_conf, reader
from clientlib.io.topic_end import WITHOUT_CREATION, TopicEnd
from clientlib.protocol.errors import ConfigurationError, RecordFormatError
from clientlib.protocol.records import TooNewError
from clientlib.protocol.state import View, fold, merge
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Cluster, Settings

log = logging.getLogger("clientlib.watch")

FRESH_S = 2.0
HEAR_S = 1.0
"""How long a client that begins, or was stopped, waits for clusters that do not answer.

One that was given up and is back may be heard first; who believed it would work there.
"""
_ASK_S = 0.5
_AT_ONCE = {"metadata.recovery.strategy": "rebootstrap", "reconnect.backoff.ms": 500}
"""Clients stand still while a cluster's view is not confirmed: better a thread for each attempt."""
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public spelling

Listener: TypeAlias = Callable[[], None]


class _Feed:
    """What one cluster's state topic has said so far."""

    def __init__(self) -> None:
        self.view = View()
        self.reached = 0
        self.complete = False
        self.confirmed = 0.0
        self.since = 0.0
        self.behind_since: float | None = None
        self.was_away = False
        self.too_new = False

    @property
    def deaf(self) -> bool:
        """Say whether what others say is there has not been read for a while, or may not be.

        A handle that has known no broker yet when its cluster comes back cannot lose them.
        """
        behind = self.behind_since is not None and time.monotonic() - self.behind_since >= RENEW_S
        return behind or self.was_away


class StateWatch:
    """The view of one scope, shared by all clients of a process that use the same settings."""

    def __init__(self, settings: Settings, scope: str) -> None:
        self._settings, self._scope = settings, scope
        self._partition = settings.control.partition_of(scope)
        self._feeds = {alias: _Feed() for alias in settings.aliases}
        self._lock = threading.Lock()
        self._merged = View()
        self._version = 0
        self._listeners: list[Listener] = []
        self._begun, self._heard = time.monotonic(), False
        self._asking = {
            alias: Renewed(lambda c=cluster: self._end(c))  # type: ignore[misc]  # as below
            for alias, cluster in settings.clusters.items()
        }
        self._ends = {alias: asking.get() for alias, asking in self._asking.items()}
        self._threads = Threads(f"failover-watch-{scope}")
        for cluster in settings.clusters.values():
            self._threads.start(f"confirm-{cluster.alias}", lambda c=cluster: self._confirm(c))  # type: ignore[misc]  # as below
            self._threads.start(cluster.alias, lambda c=cluster: self._follow(c))  # type: ignore[misc]  # mypy cannot type a default argument of a lambda

    @property
    def version(self) -> int:
        """Grows whenever the view changes."""
        return self._version

    def view(self) -> View:
        """Return what all clusters say together."""
        return self._merged

    def fresh(self, cluster: ClusterAlias) -> bool:
        """Say whether this cluster's view was confirmed less than `FRESH_S` ago.

        After a gap longer than that, the others are heard too, or `HEAR_S` waited for: this process
        may have been stopped, and this cluster given up meanwhile.
        """
        feed, now = self._feeds[cluster], time.monotonic()
        if self.too_new or now - feed.confirmed >= FRESH_S:
            return False
        if now - feed.since >= HEAR_S:
            return True
        # a moment before counts: clusters are asked in turn, and a stop is longer than that
        asked = feed.since - 2 * _ASK_S
        return all(other.confirmed > asked for other in self._feeds.values())

    def answers(self, cluster: ClusterAlias) -> bool:
        """Ask this cluster, now: milliseconds where it lives, else `_ASK_S`."""
        end = self._ends.get(cluster)
        try:
            return end is not None and end.ask(_ASK_S) >= 0
        except (KafkaException, TimeoutError):
            return False

    def confirmed_after(self, cluster: ClusterAlias, instant: float) -> bool:
        """Say whether everything written on this cluster by ``instant`` (monotonic) was read."""
        return self._feeds[cluster].confirmed > instant

    @property
    def too_new(self) -> bool:
        """Say whether a record needs a newer client, or other settings: this one stops."""
        return any(feed.too_new for feed in self._feeds.values())

    def listen(self, listener: Listener) -> None:
        """Call this, on a background thread, whenever the view changes."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Stop calling it."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def close(self) -> None:
        """Stop following, and end the connections."""
        self._threads.stop()
        self._ends.clear()
        for asking in self._asking.values():
            asking.close()

    # -- threads ---------------------------------------------------------------------------

    def _follow(self, cluster: Cluster) -> None:
        level = {"isolation.level": "read_committed", "fetch.wait.max.ms": 100, **_AT_ONCE}
        topic = self._settings.control.state_topic
        feed = self._feeds[cluster.alias]
        while not self._threads.stopping.is_set():
            consumer = reader(cluster, "watch", "failover-watch", level)
            start = feed.reached or OFFSET_BEGINNING
            consumer.assign([TopicPartition(topic, self._partition, start)])
            feed.behind_since, feed.was_away = None, False
            try:
                while not self._threads.stopping.is_set() and not feed.deaf:
                    self._step(consumer, feed, cluster.alias)
            finally:
                consumer.close()

    def _step(self, consumer: Consumer, feed: _Feed, alias: ClusterAlias) -> None:
        """Take the records that are there; a transaction's records become visible together."""
        message = consumer.poll(0.25)
        if message is None:
            if feed.complete and not self._heard:
                self._publish(alias)
            return
        error = message.error()
        if error is None:
            feed.view = self._apply(feed, alias, message.key(), message.value())
            reached = (message.offset() or 0) + 1
        elif error.code() == _EOF:
            reached = message.offset() or 0
            feed.complete = True
        else:
            log.debug("%s: state topic: %s", alias, error.str())
            return
        if feed.complete:
            self._publish(alias)
        feed.reached = max(feed.reached, reached)  # after publishing: what is reached can be seen

    def _apply(self, feed: _Feed, alias: str, key: bytes | None, value: bytes | None) -> View:
        try:
            view = fold(feed.view, self._scope, [(key, value)])
            if view.state is not None:
                self._settings.named(view.state.activated)
            return view  # noqa: TRY300 - an else would hide that both steps may fail
        except TooNewError:
            if not feed.too_new:
                log.exception("%s: clients of this version must stop writing", alias)
            feed.too_new = True
        except ConfigurationError:
            if not feed.too_new:
                log.exception("%s: clients with these settings must stop", alias)
            feed.too_new = True
        except RecordFormatError:
            log.exception("%s: a record of the state topic was ignored", alias)
        return feed.view

    def _publish(self, alias: ClusterAlias) -> None:
        with self._lock:
            complete = [feed.view for feed in self._feeds.values() if feed.complete]
            late = time.monotonic() - self._begun >= HEAR_S
            self._heard = self._heard or late or len(complete) == len(self._feeds)
            if not self._heard:
                return
            merged = merge(complete)
            if merged == self._merged:
                return
            self._merged = merged
            self._version += 1
        state = merged.state
        if state is not None:
            log.debug("%s: %s, phase %s", alias, state.order, state.phase)
        for listener in tuple(self._listeners):
            listener()

    def _confirm(self, cluster: Cluster) -> None:
        """Ask one cluster, again and again, where its state topic ends."""
        renewed, feed = self._asking[cluster.alias], self._feeds[cluster.alias]
        while not self._threads.stopping.wait(_ASK_S):
            before, topic_end = self._ends.get(cluster.alias), renewed.get()
            if topic_end is not before:
                self._ends[cluster.alias], feed.was_away = topic_end, True
            asked = time.monotonic()
            try:
                end = topic_end.ask(1.0)
            except (KafkaException, TimeoutError):
                renewed.says(worked=False)
                continue
            if end >= 0:
                renewed.says(worked=True)
                self._confirmed(feed, end, asked)

    def _end(self, cluster: Cluster) -> TopicEnd:
        """Ask of a new handle where the state topic ends."""
        conf = helper_conf(cluster, "confirm", **_AT_ONCE, **WITHOUT_CREATION)
        tp = TopicPartition(self._settings.control.state_topic, self._partition)
        return TopicEnd(AdminClient(conf), tp)

    def _confirmed(self, feed: _Feed, end: int, asked: float) -> None:
        """Wait a little for what was just written to be read, then call the view confirmed."""
        deadline = time.monotonic() + 0.3
        while feed.reached < end and time.monotonic() < deadline:
            time.sleep(0.005)
        if feed.reached < end:
            feed.behind_since = feed.behind_since or asked
        else:
            feed.behind_since = None
            before, feed.confirmed = feed.confirmed, asked
            if asked - before >= FRESH_S:
                feed.since = asked
                for listener in tuple(self._listeners):
                    listener()


_shared: dict[tuple[str, str], tuple[StateWatch, int]] = {}
_shared_lock = threading.Lock()


def _identity(settings: Settings, scope: str) -> tuple[str, str]:
    addresses = sorted((alias, c.bootstrap) for alias, c in settings.clusters.items())
    return f"{settings.digest} {addresses}", scope


def shared_watch(settings: Settings, scope: str) -> StateWatch:
    """Return the process's watch for these settings and scope; give it back when done."""
    identity = _identity(settings, scope)
    with _shared_lock:
        watch, users = _shared.get(identity) or (StateWatch(settings, scope), 0)
        _shared[identity] = (watch, users + 1)
        return watch


def give_back(settings: Settings, scope: str) -> None:
    """Close the shared watch when its last user has given it back."""
    identity = _identity(settings, scope)
    with _shared_lock:
        watch, users = _shared[identity]
        if users > 1:
            _shared[identity] = (watch, users - 1)
            return
        del _shared[identity]
    watch.close()

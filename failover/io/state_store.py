"""The state topics of all clusters: fenced transactional writers and readers that stay open.

One producer per cluster with a transactional id fixed by the scope, so that Kafka fences an older
orchestrator; tiny transactions. A producer whose transaction has no known outcome is never used
again: `acquire` makes another, which also settles what was left open.
"""

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep, time
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from clientlib.protocol.clients import Registration, fold_clients, fold_manifests
from clientlib.protocol.errors import ClusterUnreachableError, FencedError, TimedOutError
from clientlib.protocol.records import encode_key
from clientlib.protocol.replay import Manifest
from clientlib.protocol.state import Mark, View, fold, mark_released
from clientlib.protocol.types import ClusterAlias, Partition
from clientlib.settings import Cluster, Control, Settings
from failover.io.kafka_admin import ClusterAdmin, quiet
from failover.io.ports import Outcome, Record, Status
from failover.io.topic_tail import TopicTail

log = logging.getLogger("failover.state")

_T = TypeVar("_T")
_RENEW_S, _LATEST_S = 1.0, 2.0
_WARM_S = 0.6
_LOOK_S, _QUIET_S = 0.05, 0.3  # a beat must not stand in the way of the run's own writes
_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - confluent-kafka's public constants begin so
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)
_CONTENDED = _FENCED | {KafkaError.CONCURRENT_TRANSACTIONS}
_INITS = 3
_DONE = Outcome(Status.DONE)


class Writer:
    """One cluster's fenced writer of one scope. Used by one thread at a time, under its lock."""

    def __init__(self, cluster: Cluster, control: Control, scope: str, timeout_s: float) -> None:
        self._cluster = cluster
        self._topic = control.state_topic
        self._partition = control.partition_of(scope)
        self._id = f"{control.prefix}-orchestrator-{scope}"
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._ahead: tuple[Producer, float] | None = None
        self._fenced = False

    def acquire(self) -> Outcome:
        """Fence older writers and settle what they, or we, left open."""
        why = ""
        for _ in range(_INITS):
            self.prepare()
            sleep(self.warm_s())
            with self._lock:
                self._producer = None
                (producer, _), self._ahead = self._ahead or self._made(), None
                try:
                    producer.init_transactions(self._timeout_s)
                except KafkaException as error:
                    why = self._why(error)
                    if error.args[0].code() in _CONTENDED:
                        continue  # another tool initialises the same id just now
                    break
                self._producer, self._fenced = producer, False
                return _DONE
        return Outcome(Status.FAILED, why)

    def warm_s(self) -> float:
        """Return for how long `acquire` would still wait before it fences anybody."""
        ahead = self._ahead
        return max(0.0, ahead[1] + _WARM_S - monotonic()) if ahead is not None else 0.0

    def prepare(self) -> None:
        """Connect a writer ahead; nobody is fenced by that.

        librdkafka looks for its coordinator in steps of half a second: a transactional producer
        that was made 0.6 s ago is initialised in 10 ms, a new one in 0.5 to 1 s.
        """
        with self._lock:
            if self._ahead is None:
                self._ahead = self._made()

    def _made(self) -> tuple[Producer, float]:
        return Producer(self._settings()), monotonic()

    def write(self, records: Sequence[Record]) -> Outcome:
        """Write the records in one transaction. Raises FencedError."""
        with self._lock:
            if self._fenced:
                raise self._fencing()
            if self._producer is None:
                return Outcome(Status.FAILED, f"{self._cluster.alias}: no writer; acquire first")
            return self._transaction(self._producer, records)

    def close(self) -> None:
        """Drop the producer."""
        with self._lock:
            self._producer = self._ahead = None

    def _transaction(self, producer: Producer, records: Sequence[Record]) -> Outcome:
        try:
            producer.begin_transaction()
            for key, value in records:
                producer.produce(self._topic, key=key, value=value, partition=self._partition)
            producer.commit_transaction(self._timeout_s)
        except BufferError as error:
            return self._given_up(producer, str(error))
        except KafkaException as error:
            return self._failed(producer, error)
        return _DONE

    def _failed(self, producer: Producer, error: KafkaException) -> Outcome:
        cause: KafkaError = error.args[0]
        if cause.code() in _FENCED:
            self._fenced = True
            raise self._fencing() from error
        if cause.txn_requires_abort():
            return self._given_up(producer, self._why(error))
        self._producer = None  # its outcome is open: only a new writer can settle it
        return Outcome(Status.UNKNOWN, self._why(error))

    def _given_up(self, producer: Producer, why: str) -> Outcome:
        try:
            producer.abort_transaction(self._timeout_s)
        except KafkaException as error:
            # a commit that meets the fencing itself ends as UNKNOWN_SERVER_ERROR (Kafka 4.3.1)
            if error.args[0].code() in _FENCED:
                self._fenced = True
                raise self._fencing() from error
            self._producer = None
            return Outcome(Status.UNKNOWN, f"{why}; {self._why(error)}")
        return Outcome(Status.FAILED, why)

    def _why(self, error: KafkaException) -> str:
        cause: KafkaError = error.args[0]
        return f"cluster {self._cluster.alias} ({self._cluster.bootstrap}): {cause.str()}"

    def _fencing(self) -> FencedError:
        return FencedError(f"another run has taken the scope on cluster {self._cluster.alias}")

    def _settings(self) -> dict[str, Any]:
        return {
            **quiet(self._cluster.client),
            "transactional.id": self._id,
            "transaction.timeout.ms": 10_000,
            "linger.ms": 0,
            "socket.nagle.disable": True,
            "error_cb": lambda _: None,
        }


class KafkaStateStore:
    """`StateStore` on real clusters. ``timeout_s`` bounds each write and read of one cluster."""

    def __init__(self, settings: Settings, scope: str, *, timeout_s: float = 5.0) -> None:
        control = settings.control
        self._scope = scope
        self._aliases = settings.aliases
        self._clusters, self._clients_topic = settings.clusters, control.clients_topic
        self._ahead: dict[ClusterAlias, int] = {}
        self._pool = ThreadPoolExecutor(len(self._aliases), thread_name_prefix="state-store")
        self._writers = {
            alias: Writer(cluster, control, scope, timeout_s)
            for alias, cluster in settings.clusters.items()
        }
        state = Partition(control.state_topic, control.partition_of(scope))
        clients = Partition(control.clients_topic, 0)
        admins = {a: ClusterAdmin(c, timeout_s) for a, c in settings.clusters.items()}
        self._state = {
            alias: TopicTail(admin, state, timeout_s, transactional=True)
            for alias, admin in admins.items()
        }
        self._clients = {a: TopicTail(admin, clients, timeout_s) for a, admin in admins.items()}
        self.last_write = 0.0
        self._prepared = False
        self._views: dict[ClusterAlias, View] = {}
        self._known: dict[ClusterAlias, dict[str, Registration]] = {}
        self._manifests: dict[ClusterAlias, dict[tuple[str, int], Manifest]] = {}
        self._owner = uuid.uuid4().hex[:12]
        self._renewal: _Renewal | None = None

    @property
    def owner(self) -> str:
        """Identifies this process in its marks."""
        return self._owner

    def acquire(self, aliases: Iterable[ClusterAlias]) -> Mapping[ClusterAlias, Outcome]:
        """See `StateStore`."""
        return self._each(aliases, self._acquire)

    def prepare(self, aliases: Iterable[ClusterAlias]) -> None:
        """Connect the writers of these clusters ahead; the first `views` does it otherwise."""
        self._prepared = True
        for alias in aliases:
            self._writers[alias].prepare()

    def warm_s(self) -> float:
        """See `StateStore`."""
        return max(writer.warm_s() for writer in self._writers.values())

    def publish(
        self, writes: Mapping[ClusterAlias, Sequence[Record]]
    ) -> Mapping[ClusterAlias, Outcome]:
        """See `StateStore`."""
        self.last_write = monotonic()
        return self._each(writes, lambda alias: self._writers[alias].write(writes[alias]))

    def views(self, aliases: Iterable[ClusterAlias] | None = None) -> Mapping[ClusterAlias, View]:
        """See `StateStore`."""
        asked = tuple(self._aliases if aliases is None else aliases)
        if not self._prepared:
            self.prepare(asked)
        found = self._each(asked, self._view)
        return {alias: view for alias, view in found.items() if view is not None}

    def clients(
        self, aliases: Iterable[ClusterAlias]
    ) -> Mapping[ClusterAlias, Mapping[str, Registration]]:
        """See `StateStore`."""
        found = self._each(aliases, self._registered)
        return {alias: known for alias, known in found.items() if known is not None}

    def manifests(self, alias: ClusterAlias) -> Iterable[Manifest]:
        """See `StateStore`."""
        return tuple(self._manifests.get(alias, {}).values())

    def hold(self, run: str, aliases: Iterable[ClusterAlias]) -> Mapping[ClusterAlias, Outcome]:
        """See `StateStore`."""
        self.release()
        self._renewal = _Renewal(self, run, tuple(aliases))
        outcomes = self._renewal.beat_once()
        self._renewal.start()
        return outcomes

    def release(self) -> None:
        """See `StateStore`."""
        renewal, self._renewal = self._renewal, None
        if renewal is None:
            return
        renewal.stop()
        with contextlib.suppress(FencedError):
            self.publish({alias: [mark_released(self._scope)] for alias in renewal.aliases})

    def close(self) -> None:
        """See `StateStore`."""
        if self._renewal is not None:
            self._renewal.stop()
        for writer in self._writers.values():
            writer.close()
        for tail in (*self._state.values(), *self._clients.values()):
            tail.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def mark(self, run: str, beat: int) -> Record:
        """Return the record of this process' mark."""
        return Mark(run, self._owner, beat).record(self._scope)

    def _acquire(self, alias: ClusterAlias) -> Outcome:
        """Acquire one cluster; while we hold its mark, only if it stands there untouched."""
        if self._renewal is not None and alias in self._renewal.aliases:
            view = self._view(alias)
            if view is not None and self._renewal.supplanted(alias, view.mark):
                raise FencedError(f"another run holds, or held, the mark on cluster {alias}")
        return self._writers[alias].acquire()

    def _view(self, alias: ClusterAlias) -> View | None:
        try:
            records = self._state[alias].read_on()
        except (ClusterUnreachableError, TimedOutError) as error:
            log.info("the state of %s cannot be read: %s", alias, error)
            return None
        fresh = ((record.key, record.value) for record in records)
        view = fold(self._views.get(alias, View()), self._scope, fresh)
        self._views[alias] = view
        return view

    def _registered(self, alias: ClusterAlias) -> dict[str, Registration] | None:
        try:
            records = self._clients[alias].read_on()
        except (ClusterUnreachableError, TimedOutError):
            return None
        # the broker stamps these records; a clock of ours that is wrong must expire nobody
        ahead = self._ahead_of(alias)
        fresh = [(record.key, record.value, record.timestamp_ms + ahead) for record in records]
        self._manifests[alias] = fold_manifests(self._manifests.get(alias, {}), self._scope, fresh)
        known = fold_clients(self._known.get(alias, {}), self._scope, fresh)
        self._known[alias] = known
        return known

    def _ahead_of(self, alias: ClusterAlias) -> int:
        """Return how many ms our clock is ahead of a cluster's, measured once by a record there."""
        if alias not in self._ahead:
            cluster, topic = self._clusters[alias], self._clients_topic
            self._ahead[alias] = clock_difference(cluster, topic, self._scope)
        return self._ahead[alias]

    def _each(
        self, aliases: Iterable[ClusterAlias], ask: Callable[[ClusterAlias], _T]
    ) -> dict[ClusterAlias, _T]:
        """Ask all clusters at once; an error of one is raised after all have answered."""
        futures: dict[ClusterAlias, Future[_T]] = {
            alias: self._pool.submit(ask, alias) for alias in aliases
        }
        return dict(_answers(futures))


def _answers(futures: Mapping[ClusterAlias, "Future[_T]"]) -> Iterator[tuple[ClusterAlias, _T]]:
    for future in futures.values():
        future.exception()
    for alias, future in futures.items():
        yield alias, future.result()


def clock_difference(cluster: Cluster, topic: str, scope: str) -> int:
    """Return our clock minus the broker's in ms, by the timestamp it gives to a record; 0 if none.

    The record is a tombstone of a key that no client has, in a topic with LogAppendTime.
    """
    stamps: list[int] = []
    producer = Producer({**quiet(cluster.client), "linger.ms": 0, "error_cb": lambda _: None})
    begun = time()
    with contextlib.suppress(KafkaException, BufferError):
        producer.produce(
            topic,
            key=encode_key("clock", scope),
            on_delivery=lambda error, m: stamps.append(m.timestamp()[1]) if error is None else None,
        )
        producer.flush(2)
    ended = time()
    return int((begun + ended) * 500) - stamps[0] if stamps else 0


class _Renewal:
    """Renews a mark from a thread of its own; it ends by itself when it is fenced."""

    def __init__(self, store: KafkaStateStore, run: str, aliases: tuple[ClusterAlias, ...]) -> None:
        self.aliases = aliases
        self._store = store
        self._run = run
        self._beat = 0
        self._written: set[ClusterAlias] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="failover-mark", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def beat_once(self) -> Mapping[ClusterAlias, Outcome]:
        self._beat += 1
        record = self._store.mark(self._run, self._beat)
        outcomes = self._store.publish({alias: [record] for alias in self.aliases})
        self._written |= {alias for alias, outcome in outcomes.items() if outcome.done}
        return outcomes

    def supplanted(self, alias: ClusterAlias, mark: Mark | None) -> bool:
        """Say whether another's mark took the place of ours, be it gone again or not."""
        if mark is None:
            return alias in self._written
        return mark.owner != self._store.owner

    def _renew(self) -> None:
        beaten = monotonic()
        while not self._stopped.wait(_LOOK_S):
            age, quiet = monotonic() - beaten, monotonic() - self._store.last_write
            if age < _RENEW_S or (quiet < _QUIET_S and age < _LATEST_S):
                continue
            try:
                self.beat_once()
            except FencedError:  # the next write of the run hears of it, too
                return
            beaten = monotonic()

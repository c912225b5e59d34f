"""`FailoverConsumer`: ``confluent_kafka.Consumer`` that follows the active cluster.

Change the import, add ``failover.config`` to the settings, and the application reads on at the
other cluster after a switch: the remote copy first, then the local topic, every record once, in
order. To the application a switch is an ordinary rebalance.
"""

import logging
import os
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Self, TypeAlias, cast

import confluent_kafka
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from clientlib.core.next_span import Late
from clientlib.io import options as opts
from clientlib.io.commits import plain
from clientlib.io.jobs import BackgroundJobs
from clientlib.io.kafka import (
    MonotonicClock,
    Threads,
    close_behind,
    close_within,
    library_log,
)
from clientlib.io.patience import Patience, no_answer
from clientlib.io.ports import Callback, MemberPort
from clientlib.io.pulse import ASK_EVERY_S, SLICE_S, Pulse, in_slices, unconnected
from clientlib.io.registry import Registry
from clientlib.io.runtime import Callbacks, Options, Runtime
from clientlib.io.watch import give_back, shared_watch
from clientlib.origin import Origin, origin_on
from clientlib.protocol.clients import Client, Role
from clientlib.protocol.errors import ConfigurationError, NotSupportedError
from clientlib.version import VERSION

log = logging.getLogger("clientlib.consumer")

_TICK_S = 0.05
_LET_IN_S = 0.005  # others try every millisecond to get into a handle
_CLOSE_S = 3.0  # for clusters that are not active: a standby's group is left in milliseconds
_CLOSE_ACTIVE_S = 10.0  # twice what librdkafka waits for the answer to its farewell
_COMMIT_S = 30.0  # a coordinator may take its time to load; a deaf handle never answers
_MAX_BATCH = 1_000_000
_TRANSPORT = KafkaError._TRANSPORT  # noqa: SLF001 - confluent-kafka's public spelling
_USER_CALLBACKS = ("error_cb", "stats_cb", "throttle_cb", "on_commit")
_FORCED = {
    "enable.auto.commit": False,  # every commit must carry a token, so the wrapper commits
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,  # how a drained epoch shows itself
    "auto.offset.reset": "error",  # resolved logically, for all logs of a partition
}
_DEFAULTS = {
    "fetch.wait.max.ms": 100,  # a partition added beside an idle one waits for the fetch in flight
    "topic.metadata.refresh.interval.ms": 5000,  # a standby joins when the topic appears there
}

Settings: TypeAlias = dict[str, Any]


def _flag(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in {"true", "1", "yes"}


def _incremental(settings: Settings) -> bool:
    strategy = str(settings.get("partition.assignment.strategy", ""))
    return settings.get("group.protocol") == "consumer" or strategy == "cooperative-sticky"


def _runtime_options(settings: Settings) -> Options:
    group = settings.get("group.id")
    if not group:
        # librdkafka aborts the whole process on an empty one
        raise ValueError("Failed to create consumer: group.id must be set")
    return Options(
        group=str(group),
        incremental=_incremental(settings),
        classic=settings.get("group.protocol") != "consumer",
        auto_commit=_flag(settings.get("enable.auto.commit", True)),
        auto_commit_interval_s=float(settings.get("auto.commit.interval.ms", 5000)) / 1000,
        auto_store=_flag(settings.get("enable.auto.offset.store", True)),
        partition_eof=_flag(settings.get("enable.partition.eof", False)),
        late=_late(settings.get("failover.late.records", Late.DELIVER.value)),
    )


def _late(wanted: Any) -> Late:
    """Return what is to become of late records: a word, or whom to ask about each."""
    if callable(wanted):
        return Late.ASK
    if wanted not in {Late.DELIVER.value, Late.HOLD.value}:
        raise ConfigurationError(
            f"failover.late.records is {wanted!r}; known: deliver, hold, or a function that is "
            "called with the consumer and the record and says whether to deliver it"
        )
    return Late(wanted)


class FailoverConsumer(Consumer):
    """Drop-in for ``confluent_kafka.Consumer``; see the module's docstring.

    Takes the same settings. ``failover.config`` (a path or a mapping in the form of
    ``failover.yaml``, else ``FAILOVER_CONFIG``) says which clusters there are;
    ``bootstrap.servers`` is then not needed. Without either it is a plain consumer and says so
    once. Raises ConfigurationError for a wrong setting, and what confluent-kafka raises.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = opts.merged(args, kwargs)
        self._runtime: Runtime | None = None
        self._closed = False
        if not opts.wanted(settings):
            warnings.warn(
                "FailoverConsumer without failover.config is a plain consumer", stacklevel=2
            )
            super().__init__(settings)
            return
        self._options = opts.options(settings)
        runtime_options = _runtime_options(settings)
        self._topics: list[str] = []
        self._cold: set[str] = set()
        aliases = self._options.failover.aliases
        self._retired: dict[str, deque[tuple[Consumer, Callable[[], object]]]] = {
            alias: deque() for alias in aliases
        }
        self._lock = threading.RLock()
        self._user = {name: settings[name] for name in _USER_CALLBACKS if name in settings}
        self._handles = {a: self._handle(a) for a in aliases}
        self._watch = shared_watch(self._options.failover, self._options.scope)
        self._jobs = BackgroundJobs(
            self._options.failover.clusters,
            self._options.naming,
            settings,
            self._wake,
            self._options,
        )
        self._pulse = Pulse(self._watch.confirmed_after)
        self._patience = Patience(self._hopeless, self._answers)
        self._runtime = Runtime(
            runtime_options,
            self._options.naming,
            cast("Mapping[str, MemberPort]", self._handles),
            jobs=self._jobs,
            watch=self._watch,
            clock=MonotonicClock(),
            reset=self._jobs.reset,
            waiting=self._patience,
            renew=self._renew,
        )
        late = settings.get("failover.late.records")
        self._ask_late = late if callable(late) else None
        self._runtime.callbacks = self._callbacks()
        self._watch.listen(self._wake)
        self._threads = Threads("failover-consumer")
        self._threads.start("agent", self._keep_registered)
        for alias in self._handles:
            self._threads.start(f"tend-{alias}", partial(self._tend, alias))
        if type(self).poll is FailoverConsumer.poll:
            # a bound method of the runtime saves a call per record; subclasses keep their override
            self.__dict__["poll"] = self._runtime.poll

    # -- construction ----------------------------------------------------------------------

    def _handle(self, alias: str) -> Consumer:
        """Return the group member of one cluster, not yet subscribed."""
        conf = {**_DEFAULTS, **self._options.conf(alias), **_FORCED}
        for name in ("error_cb", "stats_cb", "throttle_cb"):
            if name in self._user:
                conf[name] = self._only_active(alias, self._user[name])
        conf.setdefault("error_cb", lambda error: log.debug("%s: %s", alias, error))
        conf.setdefault("logger", library_log("consumer"))
        conf["on_commit"] = partial(self._on_commit, alias)
        return Consumer(conf)

    def _only_active(self, alias: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Let only the active connection's events reach the application."""

        def call(*args: Any) -> Any:
            runtime = self._runtime
            if runtime is None:
                return callback(*args)
            if runtime.active in {alias, None}:
                with runtime.called_by(alias):
                    return callback(*args)
            return None

        return call

    def _hopeless(self, alias: str) -> bool:
        """Say whether the state says that this cluster was lost, or its member is deaf."""
        state, runtime = self._watch.view().state, self._runtime
        deaf = runtime is not None and alias in runtime.deaf
        return deaf or (state is not None and state.lost == alias)

    def _answers(self, alias: str) -> bool:
        return alias not in self._pulse.silent and self._watch.answers(alias)

    def _callbacks(self, **given: Callback) -> Callbacks:
        on_commit = self._user.get("on_commit")
        return Callbacks(facade=self, on_commit=on_commit, late=self._ask_late, **given)

    def _wake(self) -> None:
        if self._runtime is not None:
            self._runtime.attention = True

    def _on_commit(self, alias: str, error: Any, partitions: list[TopicPartition]) -> None:
        if self._runtime is not None:
            self._runtime.on_commit(alias, error, partitions)

    def _keep_registered(self) -> None:
        """Keep the registration, and make the fast path look up twenty times a second."""
        registries = {a: Registry(self._options.failover, a) for a in self._handles}
        while not self._threads.stopping.wait(_TICK_S):
            self._wake()
            state = self._watch.view().state
            if state is not None and self._topics:
                registries[state.active].keep(self._client())
        for registry in registries.values():
            registry.close()

    def _tend(self, alias: str) -> None:
        """Look after one cluster's handle, so that none is closed that this thread is inside."""
        due = 0.0
        while not self._threads.stopping.wait(_TICK_S):
            if alias in self._cold:
                self._cold.discard(alias)
                if not self._warm(alias):
                    self._cold.add(alias)
            self._bury(alias)
            if time.monotonic() >= due:
                self._ask(alias)
                due = time.monotonic() + ASK_EVERY_S

    def _bury(self, alias: str) -> None:
        while self._retired[alias]:
            close_behind(*self._retired[alias].popleft())

    def _ask(self, alias: str) -> None:
        handle, topic = self._handles[alias], self._options.failover.control.state_topic

        def slice_of(seconds: float) -> None:
            if not self._patience.inside_for(alias):  # nobody else gets in
                handle.list_topics(topic, timeout=seconds)

        def question() -> None:
            inside = self._patience.inside_for(alias)
            if inside > _COMMIT_S:
                raise KafkaException(KafkaError(_TRANSPORT, "a commit is not answered"))
            in_slices(slice_of)

        deaf = self._pulse.ask(alias, question)
        if deaf and self._topics and handle is self._handles[alias]:
            self._live.deaf[alias] = cast("MemberPort", handle)
            self._wake()

    def _renew(self, alias: str) -> None:
        """Put another handle in the place of a deaf one; the application's thread."""
        self._retired[alias].append((self._handles[alias], self._patience.forget(alias)))
        self._pulse.forget(alias)
        self._handles[alias] = self._handle(alias)
        self._handles[alias].subscribe(self._topics, **self._rebalance(self._live, alias))

    def _client(self) -> Client:
        runtime = self._live
        return Client(
            id=self._options.ident,
            role=Role.CONSUMER,
            scope=self._options.scope,
            group=runtime.options.group,
            topics=tuple(self._topics),
            version=VERSION,
            digest=self._options.failover.digest,
            ttl_ms=self._options.ttl_ms,
            seen=runtime.seen,
            host=socket.gethostname(),
            pid=os.getpid(),
            away=tuple(sorted(runtime.away | self._pulse.silent)),
        )

    @property
    def _live(self) -> Runtime:
        if self._runtime is None or self._closed:
            raise RuntimeError("Consumer closed")
        return self._runtime

    def _active(self) -> Consumer:
        """Return the member that the application's questions go to.

        Raises KafkaException: _TIMED_OUT while a commit that nobody waits for is inside it.
        """
        active = self._live.active or next(iter(self._handles))
        if self._patience.busy(active):  # its handle would answer when its cluster is back
            raise no_answer(active)
        return self._handles[active]

    # -- reading ---------------------------------------------------------------------------

    def subscribe(self, topics: list[str], *args: Any, **kwargs: Any) -> None:
        """Subscribe to logical topics: each covers the local topic and its remote copies.

        Callbacks as in confluent-kafka, called with this consumer and physical partitions.
        Raises NotSupportedError for regular expressions.
        """
        if self._runtime is None:
            super().subscribe(topics, *args, **kwargs)
            return
        with self._lock:
            self._subscribe(self._live, topics, *args, **kwargs)

    def _subscribe(self, runtime: Runtime, topics: list[str], /, *args: Any, **kwargs: Any) -> None:
        names = ("on_assign", "on_revoke", "on_lost")
        given: dict[str, Callback] = {**dict(zip(names, args, strict=False)), **kwargs}
        for name, callback in given.items():
            if name not in names or not callable(callback):
                raise TypeError(f"{name} expects a callable")
        for topic in _names(topics):
            if topic.startswith("^"):
                raise NotSupportedError(f"subscribe({topic!r}): name the logical topics instead")
        self._topics = list(topics)
        runtime.callbacks = self._callbacks(**given)
        for alias, handle in self._handles.items():
            handle.subscribe(topics, **self._rebalance(runtime, alias))

    def _rebalance(self, runtime: Runtime, alias: str) -> dict[str, Callback]:
        def on_assign(consumer: Any, partitions: list[TopicPartition]) -> None:
            if consumer is self._handles[alias]:  # else it is one that was replaced
                self._cold.add(alias)
                runtime.on_owned(alias, partitions)

        def on_revoke(consumer: Any, partitions: list[TopicPartition]) -> None:
            if consumer is self._handles[alias]:
                runtime.on_disowned(alias, partitions, lost=False)

        def on_lost(consumer: Any, partitions: list[TopicPartition]) -> None:
            if consumer is self._handles[alias]:
                runtime.on_disowned(alias, partitions, lost=True)

        return {"on_assign": on_assign, "on_revoke": on_revoke, "on_lost": on_lost}

    def _warm(self, alias: str) -> bool:
        """Fetch the copies' metadata: assigning a topic that a handle does not know takes 0.8 s.

        Says whether that is done; a cluster that does not answer just now is asked again. Never
        inside a callback of that handle: confluent-kafka forgets there who called it, and aborts
        the process when another callback follows in the same poll.
        """
        if not self._pulse.lives(alias):
            return False
        named = self._options.naming
        names = [name for topic in self._topics for name in named.log_names(topic, alias).values()]
        for name in names:
            if self._patience.inside_for(alias):
                return False
            try:
                self._handles[alias].list_topics(name, timeout=SLICE_S)
            except KafkaException as error:
                log.debug("%s: metadata of %s: %s", alias, name, error)
                if unconnected(error):
                    return False
            self._threads.stopping.wait(_LET_IN_S)
        return True

    def unsubscribe(self) -> None:
        """Leave the groups on all clusters."""
        if self._runtime is None:
            super().unsubscribe()
            return
        self._live.leave()
        self._topics = []
        for alias, handle in self._handles.items():
            if not self._patience.busy(alias):
                handle.unsubscribe()

    def poll(self, timeout: float = -1.0) -> Message | None:
        """Return the next record, an error or None; runs callbacks, as confluent-kafka does."""
        if self._runtime is None:
            return super().poll(timeout)
        return self._live.poll(timeout)

    def consume(self, num_messages: int = 1, timeout: float = -1.0) -> list[Message]:
        """Return up to ``num_messages`` records; a batch is cut where an epoch ends."""
        if self._runtime is None:
            return super().consume(num_messages, timeout)
        if not 0 <= num_messages <= _MAX_BATCH:
            raise ValueError("num_messages must be between 0 and 1000000 (1M)")
        return self._live.consume(num_messages, timeout)

    # -- commits ---------------------------------------------------------------------------

    def commit(self, message: Any = None, offsets: Any = None, **kwargs: Any) -> Any:
        """Commit, synchronously or not, as confluent-kafka does.

        ``commit()`` and ``commit(message=)`` finish the earlier epochs of the logical partition
        too; ``commit(offsets=)`` commits what it names, and what belongs to a later epoch once the
        earlier one is finished. Raises KafkaException with ILLEGAL_GENERATION for what this member
        has given up.
        """
        if self._runtime is None:
            return super().commit(**_given(message=message, offsets=offsets), **kwargs)
        runtime = self._live
        if message is not None and offsets is not None:
            raise ValueError("message and offsets are mutually exclusive")
        asynchronous = bool(kwargs.get("asynchronous", kwargs.get("async", True)))
        # in a callback another thread may hold the lock, and wait for the handle
        with nullcontext() if runtime.in_callback else self._lock:
            if message is not None:
                offsets = [_after(message)]
            done = runtime.commit(offsets, covering=message is not None, asynchronous=asynchronous)
        return None if asynchronous else done

    def store_offsets(self, message: Any = None, offsets: Any = None) -> None:
        """Store offsets for a later commit; ``enable.auto.offset.store`` must be off."""
        if self._runtime is None:
            super().store_offsets(**_given(message=message, offsets=offsets))
            return
        runtime = self._live
        if runtime.options.auto_store:
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG))  # noqa: SLF001
        with self._lock:
            runtime.store_offsets([_after(message)] if message is not None else offsets)

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> Any:
        """Return the group's commits of physical partitions on the active cluster."""
        if self._runtime is None:
            return super().committed(partitions, timeout)
        found = self._active().committed(partitions, timeout)
        return [plain(tp) for tp in found]

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the delivered positions of physical partitions."""
        if self._runtime is None:
            return super().position(partitions)
        tracks = self._live.tracks
        result = []
        for tp in partitions:
            track = tracks.get((tp.topic, tp.partition))
            moved = track is not None and track.span.next > track.span.start
            offset = track.span.next if track is not None and moved else OFFSET_INVALID
            result.append(TopicPartition(tp.topic, tp.partition, offset))
        return result

    # -- partitions ------------------------------------------------------------------------

    def assignment(self) -> list[TopicPartition]:
        """Return the physical partitions that are being read: one per logical partition."""
        if self._runtime is None:
            return super().assignment()
        return [TopicPartition(*key) for key in self._live.tracks]

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Choose where to begin, inside ``on_assign``.

        Raises NotSupportedError elsewhere: reading without a group is not followed.
        """
        if self._runtime is None:
            super().assign(partitions)
            return
        self._begin_at(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As `assign`, for cooperative protocols."""
        if self._runtime is None:
            super().incremental_assign(partitions)
            return
        self._begin_at(partitions)

    def _begin_at(self, partitions: list[TopicPartition]) -> None:
        runtime = self._live
        known = runtime.tracks
        if not self._topics or any((tp.topic, tp.partition) not in known for tp in partitions):
            raise NotSupportedError(
                "assign() is followed inside on_assign only, for the partitions given there; "
                "use subscribe()"
            )
        runtime.asked(partitions)

    def unassign(self) -> None:
        """Accepted inside ``on_revoke``, where the wrapper does it anyway."""
        if self._runtime is None:
            super().unassign()
            return
        self._live  # noqa: B018 - raises when closed

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Accepted inside ``on_revoke``, where the wrapper does it anyway."""
        if self._runtime is None:
            super().incremental_unassign(partitions)
            return
        self._live  # noqa: B018 - raises when closed

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Stop delivering physical partitions until `resume` or the next rebalance."""
        if self._runtime is None:
            super().pause(partitions)
            return
        self._live.assignment.pause((tp.topic, tp.partition) for tp in partitions)
        self._active().pause(self._read_now(partitions))

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Deliver physical partitions again."""
        if self._runtime is None:
            super().resume(partitions)
            return
        self._live.assignment.resume((tp.topic, tp.partition) for tp in partitions)
        self._active().resume(self._read_now(partitions))

    def _read_now(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        tracks = self._live.tracks
        return [tp for tp in partitions if (tp.topic, tp.partition) in tracks]

    def seek(self, partition: TopicPartition) -> None:
        """Read on from another offset of a physical partition that is being read."""
        if self._runtime is None:
            super().seek(partition)
            return
        track = self._live.tracks.get((partition.topic, partition.partition))
        if track is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "Erroneous state"))  # noqa: SLF001
        self._active().seek(partition)
        self._live.sought(track, partition.offset)

    # -- the rest goes to the active cluster -------------------------------------------------

    def get_watermark_offsets(self, partition: TopicPartition, *args: Any, **kwargs: Any) -> Any:
        """Ask the active cluster."""
        if self._runtime is None:
            return super().get_watermark_offsets(partition, *args, **kwargs)
        return self._active().get_watermark_offsets(partition, *args, **kwargs)

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = -1) -> Any:
        """Ask the active cluster."""
        if self._runtime is None:
            return super().offsets_for_times(partitions, timeout)
        return self._active().offsets_for_times(partitions, timeout)

    def list_topics(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the active cluster."""
        if self._runtime is None:
            return super().list_topics(*args, **kwargs)
        return self._active().list_topics(*args, **kwargs)

    def consumer_group_metadata(self) -> Any:
        """Return the metadata of the group on the active cluster."""
        if self._runtime is None:
            return super().consumer_group_metadata()
        return self._active().consumer_group_metadata()

    def memberid(self) -> Any:
        """Return the member id on the active cluster."""
        if self._runtime is None:
            return super().memberid()
        return self._active().memberid()

    def cluster_id(self, timeout: float = -1) -> Any:
        """Return the active cluster's id."""
        if self._runtime is None:
            return super().cluster_id(timeout)
        return self._active().cluster_id(timeout)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Set the credentials on every cluster's handle."""
        if self._runtime is None:
            super().set_sasl_credentials(username, password)
            return
        for handle in self._handles.values():
            handle.set_sasl_credentials(username, password)

    # -- ours ------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """Where this consumer is, for readiness probes: waiting, moving, reading or closed."""
        if self._closed or self._runtime is None:
            return "closed" if self._closed else "plain"
        if self._runtime.active is None:
            return "waiting"
        return "reading" if self._runtime.session.settled else "moving"

    @property
    def active(self) -> str | None:
        """The alias of the cluster that is read from; None for a plain or a waiting consumer."""
        return self._runtime.active if self._runtime is not None else None

    def origin(self, message: Message) -> Origin | None:
        """Say where a record comes from; None for a plain consumer or a foreign topic."""
        if self._runtime is None or self._runtime.active is None:
            return None
        view = self._watch.view()
        return origin_on(self._options.naming, self._runtime.active, message, view)

    def close(self) -> None:
        """Finish as at a revoke, leave the groups on all clusters, stop all threads.

        A cluster that does not answer is waited for 10 s if it is the active one, else 3 s. What
        librdkafka calls meanwhile (``on_commit``, ``error_cb``) runs in another thread.
        """
        if self._runtime is None:
            super().close()
            return
        if self._closed:
            return
        # no lock here: the application's on_revoke may wait for workers that commit
        self._watch.unlisten(self._wake)
        self._threads.stop()
        for alias in self._handles:
            self._bury(alias)
        self._runtime.leave()
        for alias, handle in self._handles.items():
            patience = _CLOSE_ACTIVE_S if alias == self._runtime.active else _CLOSE_S
            try:
                closed = close_within(handle, patience)
            except Exception as error:  # noqa: BLE001 - raised when everything is closed
                self._runtime.raise_later(error)
                continue
            if not closed:
                log.info("%s does not answer; it is left without a farewell", alias)
        self._closed = True
        self.__dict__.pop("poll", None)
        self._jobs.close()
        self._patience.close()
        give_back(self._options.failover, self._options.scope)
        self._runtime.raise_pending()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()  # the C method would call the C close


def _given(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that are not None: confluent-kafka refuses some of those."""
    return {name: value for name, value in arguments.items() if value is not None}


def _names(topics: Any) -> list[str]:
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise TypeError("expected list of topic unicode strings")
    return topics


def _after(message: Message) -> TopicPartition:
    """Return the commit of a record: the offset after it."""
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    if not isinstance(message, confluent_kafka.Message):
        raise TypeError("expected a confluent_kafka.Message")
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ConfigurationError("the message has no position")
    return TopicPartition(topic, partition, offset + 1)

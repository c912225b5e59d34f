"""`FailoverProducer`: ``confluent_kafka.Producer`` that writes to the active cluster only.

While the scope is closing it takes records, up to the queue's limit, and hands none over; on the
new epoch it goes on at the new cluster in the same order. Records stay untouched, delivery reports
come from the application's own ``poll`` and ``flush``.
"""

import itertools
import logging
import os
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from time import monotonic
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clientlib.core.memory import as_bytes
from clientlib.core.producer_session import (
    Command,
    Flush,
    Open,
    ProducerSession,
    Rescue,
    Shut,
    Stage,
)
from clientlib.core.replay_buffer import Headers, Kept
from clientlib.io import options as opts
from clientlib.io.carry import Carrier
from clientlib.io.fast_path import FastPath
from clientlib.io.kafka import Threads, library_log
from clientlib.io.outgoing import Outgoing, Report, acknowledged, by_header, checked, ignore
from clientlib.io.registry import Registry
from clientlib.io.rescue import Again, Rescuer
from clientlib.io.transactions import Desk, Transactions, within
from clientlib.io.watch import give_back, shared_watch
from clientlib.origin import Origin
from clientlib.protocol.clients import Client, Role
from clientlib.protocol.errors import ClusterUnreachableError, NotSupportedError
from clientlib.protocol.state import State
from clientlib.version import VERSION

log = logging.getLogger("clientlib.producer")

_TICK_S = 0.02
_OPEN_TICK_S = 0.1  # while open: changes of the state wake the agent; the rest is not urgent
_RENEW_S = 0.1
_DEFAULT_QUEUE = 100_000
_DEFAULT_MAX_BYTES = 1_000_000
_POLL_SLICE_S = 0.1
_CONFIRM_S = 1.0
_CLOSE_S = 5.0
_REPLAY_MS = 60_000
IDENTITY = "failover.id"
"""Header of each record with ``failover.record.identity: header``: session and number."""
_REPLAY_BYTES = 256 * 1024 * 1024
_PURGED = KafkaError._PURGE_QUEUE  # noqa: SLF001 - confluent-kafka's public spelling
_FULL = KafkaError._QUEUE_FULL  # noqa: SLF001 - as above
_NOT_CONFIGURED = KafkaError._NOT_CONFIGURED  # noqa: SLF001 - as above


class FailoverProducer(Producer):
    """Drop-in for ``confluent_kafka.Producer``; see the module's docstring.

    Takes the same settings, and ``failover.*`` as `FailoverConsumer` does. ``acks=all`` and
    idempotence are forced (``failover.idempotence: false`` refuses). With ``transactional.id`` it
    has transactions, each of them on one cluster. Raises ConfigurationError for a wrong setting.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = opts.merged(args, kwargs)
        self._handles: dict[str, Producer] = {}
        self._fast = FastPath(self._produce_slowly)
        if type(self).produce is FailoverProducer.produce:  # nobody overrides it: one call less
            self.produce = self._fast.produce  # type: ignore[method-assign]
        self._direct: Callable[..., None] | None = None
        self._valid_until = 0.0
        self._closed = False
        if not opts.wanted(settings):
            warnings.warn(
                "FailoverProducer without failover.config is a plain producer", stacklevel=2
            )
            super().__init__(settings)
            return
        self._set_up(settings)
        self._start()

    def _set_up(self, settings: dict[str, Any]) -> None:
        """Take the settings; nothing is connected yet."""
        self._options = opts.options(settings)
        self._idempotent = settings.get("failover.idempotence", True)
        self._limit = int(settings.get("queue.buffering.max.messages", _DEFAULT_QUEUE))
        self._lock = threading.Lock()
        self._target = ""
        self._waiting: deque[tuple[Outgoing, Report | None]] = deque()
        self._held: deque[tuple[str, Report, Any, Any]] = deque()
        self._reporting = ""
        self._serving_for_application = True
        self._draining = ""
        replay_s = float(settings.get("failover.replay.ms", _REPLAY_MS)) / 1000
        replay_bytes = int(settings.get("failover.replay.bytes", _REPLAY_BYTES))
        transactional = "transactional.id" in settings
        self._rescuer = Rescuer(self._options, replay_s, replay_bytes, transactional=transactional)
        self._session_id = self._options.ident if by_header(settings) else ""
        self._numbers = itertools.count()
        self._default_report = settings.get("on_delivery") or settings.get("dr_cb")
        if not self._session_id:
            self._fast.remember(None, self._reporter(self._default_report))
        self._max_bytes = int(settings.get("message.max.bytes", _DEFAULT_MAX_BYTES))
        self._transactions = self._with_transactions() if transactional else None

    def _with_transactions(self) -> Transactions:
        carrier = Carrier(
            self._rescuer,
            lambda: bool(self._rescuing),
            self._take_back,
            lambda *report: self._held.append(report),
        )
        desk = Desk(
            lock=self._lock,
            handle=lambda alias: self._handles[alias],
            active=self._active_now,
            waiting=lambda: bool(self._waiting),
            refuse=self._refuse_waiting,
            let_through=self._let_through,
            shut=self._close_path,
            lapsed=self._out_of_date,
            reporting=self._report_as,
            serve=self._serve_held,
            quietly=self._quietly,
            renew=self._renew,
        )
        return Transactions(desk, self._rescuer, carrier)

    def _start(self) -> None:
        """Make the handles, and begin to follow the state."""
        self._session = ProducerSession()
        self._serving = threading.Lock()
        self._rescuing = ""
        self._rescued: Rescue | None = None
        self._looked = 0.0
        self._opened = ""
        self._replayed = 0
        self._todo: deque[Command] = deque()
        self._opened_since: float | None = None
        self._overdue = False
        handles = {a: Producer(self._conf(a)) for a in self._options.failover.aliases}
        self._watch = shared_watch(self._options.failover, self._options.scope)
        self._handles = handles
        self._wakeup = threading.Event()
        self._watch.listen(self._wakeup.set)
        self._threads = Threads("failover-producer")
        failover = self._options.failover
        self._registries = {a: Registry(failover, a) for a in failover.aliases}
        self._registry_locks = {a: threading.Lock() for a in failover.aliases}
        self._threads.start("agent", self._follow)
        self._threads.start("replicated", self._confirm)
        for alias in failover.aliases:
            self._threads.start(f"register-{alias}", partial(self._stay_registered, alias))
            if self._transactions is not None:
                keep = partial(self._transactions.stay_initialised, alias, self._threads.stopping)
                self._threads.start(f"transactions-{alias}", keep)

    def _conf(self, alias: str) -> dict[str, Any]:
        conf = self._options.conf(alias)
        if self._idempotent and self._transactions is None:  # else it is on in any case
            conf |= {"acks": "all", "enable.idempotence": True}
        for name in ("on_delivery", "dr_cb"):
            conf.pop(name, None)
        for name in ("error_cb", "stats_cb", "throttle_cb"):
            if name in conf:
                conf[name] = self._only_active(alias, conf[name])
        conf.setdefault("error_cb", lambda error: log.debug("%s: %s", alias, error))
        conf.setdefault("logger", library_log("producer"))
        return conf

    def _only_active(self, alias: str, callback: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            return callback(*args) if self._target in {alias, ""} else None

        return call

    # -- the application's side --------------------------------------------------------------

    def produce(  # noqa: PLR0917 - the signature is confluent-kafka's
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        callback: Report | None = None,
        on_delivery: Report | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Take a record. Raises BufferError when the queue is full, as confluent-kafka does."""
        self._fast.produce(topic, value, key, partition, callback, on_delivery, timestamp, headers)

    def _produce_slowly(  # noqa: PLR0917 - as `produce`
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
        if not self._handles:
            super().produce(topic, value, key, partition, report, None, timestamp, headers)
            return
        # Nearly every application gives the same callback each time; a wrapper for each record
        # costs more than all the rest.
        wanted = report or self._default_report
        if self._session_id:
            headers = self._identified(headers)
        deliver = self._reporter(wanted)
        if headers is None and not timestamp:
            self._fast.remember(report, deliver)
        else:
            deliver = self._remembering(wanted, headers, timestamp)
        with self._lock:
            if self._direct is not None:
                if monotonic() < self._valid_until:
                    self._direct(topic, value, key, partition, deliver, None, timestamp, headers)
                    return
                self._out_of_date()
            if self._transactions is not None:
                self._transactions.check_produce()
            # a record's time is when the application produced it, not when it was let through
            timestamp = timestamp or int(time.time() * 1000)
            deliver = self._remembering(wanted, headers, timestamp)
            record = Outgoing(topic, value, key, partition, deliver, None, timestamp, headers)
            self._take(record, wanted)

    def _identified(self, headers: Any) -> list[tuple[str, Any]]:
        """Add what tells a record from an equal one of the same millisecond."""
        listed = headers.items() if isinstance(headers, dict) else headers or ()
        identity = f"{self._session_id};{next(self._numbers)}".encode()
        return [*listed, (IDENTITY, identity)]

    def _out_of_date(self) -> bool:
        """Shut when this process was stopped for so long that nobody waits for it any more."""
        if monotonic() < self._valid_until:
            return False
        self._overdue = True
        self._shut()
        return True

    def _shut(self) -> None:
        """Hand nothing over any more; the lock is held."""
        self._close_path()
        if self._transactions is not None:
            self._transactions.shut("writes are closed")

    def _close_path(self) -> None:
        self._direct = None
        self._fast.shut()

    def _let_through(self, handle: Producer) -> None:
        """Let the application write directly; the lock is held."""
        self._direct = handle.produce if self._transactions is None else within(handle)
        self._fast.open(self._direct, self._valid_until)

    def _take(self, record: Outgoing, report: Report | None) -> None:
        """Keep a record until writes are open; the lock is held."""
        if self._closed:
            raise RuntimeError("Producer has been closed")
        size = sum(len(checked(part)) for part in (record.value, record.key))
        if size > self._max_bytes:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self._waiting) >= self._limit:
            raise BufferError(KafkaError(_FULL, "Local: Queue full"))
        self._waiting.append((record, report))

    def _reporter(self, report: Report | None) -> Report:
        """Return what reports now, or keeps it for the application's poll while the agent flushes.

        A function of its own, since it runs for every record: a bound method costs 50 ns more. What
        is kept are `Kept`'s first fields, and not the message.
        """
        producer, held, keep = self, self._held, self._rescuer.keep

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
            elif producer._rescuing:
                producer._take_back(message, report, None, 0)
                return
            if report is None:
                return
            if producer._serving_for_application:
                report(error, message)
            else:
                held.append((producer._draining, report, error, message))

        return deliver

    def _remembering(self, report: Report | None, headers: Any, timestamp: int) -> Report:
        """Return what reports a record of which the report leaves out headers or timestamp."""
        listed = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        encoded = [(name, as_bytes(value)) for name, value in listed]

        def deliver(error: Any, message: Any) -> None:
            if error is None:
                self._rescuer.keep(Kept.of(message, encoded))
            elif self._rescuing:
                self._take_back(message, report, encoded, timestamp)
                return
            self._tell(report, error, message)

        return deliver

    def _tell(self, report: Report | None, error: Any, message: Any) -> None:
        if report is None:
            return
        if self._serving_for_application:
            report(error, message)
        else:
            self._held.append((self._draining, report, error, message))

    def _take_back(
        self, message: Any, report: Report | None, headers: Headers | None, timestamp: int
    ) -> None:
        """Keep a record that the given-up cluster never acknowledged: it is written again."""
        now, latency = time.time(), message.latency()
        window, self._looked = (self._looked - latency, now - latency), now
        told = report or ignore
        kept = Kept.of(message, headers, timestamp or int(window[0] * 1000), told)
        self._rescuer.returned.append(kept._replace(window=window, guessed=not timestamp))

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], *a: Any, **k: Any) -> int:
        """Take a batch of records; returns how many were taken."""
        if not self._handles:
            return super().produce_batch(topic, messages, *a, **k)
        names = ("partition", "callback", "on_delivery")
        common = {**dict(zip(names, a, strict=False)), **k}
        taken = 0
        for message in messages:
            try:
                self.produce(topic, **{**common, **message})
            except (BufferError, KafkaException) as error:
                message["_error"] = error.args[0]
                continue
            taken += 1
        return taken

    def poll(self, timeout: float = -1) -> int:
        """Serve delivery reports; returns how many."""
        if not self._handles:
            return super().poll(timeout)
        served = self._serve_held()
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            left = max(0.0, deadline - time.monotonic())
            if self._target:
                self._reporting = self._target
                wait = 0 if served else min(left, _POLL_SLICE_S)
                try:
                    with self._serving:
                        served += self._handles[self._target].poll(wait) if self._target else 0
                except KafkaException as error:
                    self._check_given_up(error)
            else:
                time.sleep(min(left, _TICK_S))
            served += self._serve_held()
            if served or left <= 0:
                return served

    def _polled(self, cluster: str, wait: float) -> int:
        try:
            return self._handles[cluster].poll(wait)
        except KafkaException as error:
            self._check_given_up(error)
            return 0

    def _flushed(self, cluster: str, wait: float) -> None:
        try:
            self._handles[cluster].flush(wait)
        except KafkaException as error:
            self._check_given_up(error)

    def _check_given_up(self, error: KafkaException) -> None:
        """Leave it to the transactions to say that a handle is given up: it may be made anew."""
        if self._transactions is None or not error.args[0].fatal():
            raise error

    def origin(self, message: Message) -> Origin | None:
        """Say, inside a delivery callback, which cluster took the record; None when plain."""
        if not self._handles or message.topic() is None:
            return None
        cluster, offset = self._reporting, message.offset()
        topic, partition = str(message.topic()), message.partition() or 0
        return Origin(cluster, topic, partition, cluster, -1 if offset is None else offset)

    def _serve_held(self) -> int:
        """Run the reports that came in while the agent was flushing."""
        for count in itertools.count():
            try:
                self._reporting, report, error, message = self._held.popleft()
            except IndexError:
                return count
            report(error, message)
        raise AssertionError("unreachable")  # pragma: no cover - itertools.count is endless

    def flush(self, timeout: float = -1) -> int:
        """Wait until every record taken so far is reported; returns how many are left."""
        if not self._handles:
            return super().flush(timeout)
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            self._serve_held()
            left = max(0.0, deadline - time.monotonic())
            if self._target and len(self._handles[self._target]):
                self._reporting = self._target
                with self._serving:
                    if self._target:
                        self._flushed(self._target, min(left, _POLL_SLICE_S))
            elif left > 0 and len(self):
                time.sleep(min(left, 0.005))
            remaining = len(self)
            if not remaining or left <= 0:
                return remaining

    def __len__(self) -> int:
        if not self._handles:
            return super().__len__()
        # a standby's handle holds no records, only events that the agent serves
        handed_over = len(self._handles[self._target]) if self._target else 0
        return handed_over + len(self._waiting) + len(self._held)

    def __bool__(self) -> bool:
        return True

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """Give up records that are not delivered yet; each is reported as purged."""
        if not self._handles:
            super().purge(in_queue, in_flight, blocking)
            return
        if in_queue:
            with self._lock:
                self._refuse_waiting()
        self._serve_held()
        for handle in self._handles.values():
            handle.purge(in_queue, in_flight, blocking)

    def close(self, timeout: float = -1) -> Any:
        """Flush, leave the registry, stop the threads."""
        if not self._handles:
            return super().close()
        if self._closed:
            return True
        if self._transactions is not None:
            self._transactions.close(min(timeout, _CLOSE_S) if timeout >= 0 else _CLOSE_S)
        self.flush(timeout)
        with self._lock:
            self._closed = True
            self._shut()
        self._watch.unlisten(self._wakeup.set)
        self._threads.stop()
        give_back(self._options.failover, self._options.scope)
        return len(self) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the rest goes to the active cluster ---------------------------------------------------

    def _active(self) -> Producer:
        return self._handles[self._target or next(iter(self._handles))]

    def list_topics(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the active cluster."""
        return (
            self._active().list_topics(*args, **kwargs)
            if self._handles
            else super().list_topics(*args, **kwargs)
        )

    def cluster_id(self, timeout: float = -1) -> Any:
        """Return the active cluster's id."""
        return self._active().cluster_id(timeout) if self._handles else super().cluster_id(timeout)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Set the credentials on every cluster's handle."""
        if not self._handles:
            super().set_sasl_credentials(username, password)
        for handle in self._handles.values():
            handle.set_sasl_credentials(username, password)

    # -- transactions ------------------------------------------------------------------------

    def init_transactions(self, timeout: float = -1) -> None:
        """Be ready on the active cluster, and on the others as soon as they answer."""
        if not self._handles:
            super().init_transactions(timeout)
            return
        self._in_transactions().init(timeout)

    def begin_transaction(self) -> None:
        """Begin a transaction; while writes are closed its records wait here."""
        if not self._handles:
            super().begin_transaction()
            return
        self._in_transactions().begin()

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit. A transaction that was open when writes closed raises: abort it."""
        if not self._handles:
            super().commit_transaction(timeout)
            return
        self._in_transactions().commit(timeout)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort; records that were not delivered are reported as purged."""
        if not self._handles:
            super().abort_transaction(timeout)
            return
        self._in_transactions().abort(timeout)

    def send_offsets_to_transaction(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a group's position moves with its commits, not with a transaction."""
        if not self._handles:
            super().send_offsets_to_transaction(*args, **kwargs)
            return
        raise NotSupportedError("send_offsets_to_transaction: commit with the consumer instead")

    def _in_transactions(self) -> Transactions:
        if self._transactions is None:
            raise KafkaException(
                KafkaError(_NOT_CONFIGURED, "the Transactional API requires transactional.id")
            )
        return self._transactions

    def _active_now(self) -> str:
        state = self._watch.view().state
        return self._target or (state.active if state is not None else "")

    def _report_as(self, cluster: str) -> None:
        self._reporting = cluster

    def _refuse_waiting(self) -> None:
        """Report what waits as purged; the lock is held."""
        waiting, self._waiting = self._waiting, deque()
        for record, report in waiting:
            self._refuse(record, report, KafkaError(_PURGED))

    @contextmanager
    def _quietly(self, cluster: str) -> Iterator[None]:
        """Let the reports that come in wait for the application's own poll."""
        self._draining, self._serving_for_application = cluster, False
        try:
            yield
        finally:
            self._serving_for_application = True

    # -- the agent: follows the state ------------------------------------------------------------

    @property
    def state(self) -> str:
        """For readiness probes: waiting, open, closing or closed."""
        if self._closed:
            return "closed"
        return self._session.stage.value if self._handles else "plain"

    def _client(self) -> Client:
        return Client(
            id=self._options.ident,
            role=Role.PRODUCER,
            scope=self._options.scope,
            version=VERSION,
            digest=self._options.failover.digest,
            ttl_ms=self._options.ttl_ms,
            seen=self._session.seen,
            quiesced=self._session.quiesced,
            replayed=self._replayed,
            at_risk=self._rescuer.at_risk,
            transactional=self._transactions is not None,
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    def _follow(self) -> None:
        """Follow the state until closed: be registered, then obey.

        Whatever goes wrong in one turn (an application's callback that raises, say) is logged and
        the turn is taken again: a producer that stops obeying would hold up every switch.
        """
        while not self._threads.stopping.is_set():
            steady = self._session.stage is Stage.OPEN and not self._todo
            self._wakeup.wait(_OPEN_TICK_S if steady else _TICK_S)
            self._wakeup.clear()
            try:
                self._step()
                self._rescuer.gather()
                self._finish_replay()
                for alias in self._handles:
                    if alias != self._target:
                        self._polled(alias, 0)
            except Exception:
                log.exception("a turn of the producer's agent failed; taking it again")

    def _step(self) -> None:
        # what is confirmed is asked before the view is taken: never the other way round
        sinces = {alias: registry.since for alias, registry in self._registries.items()}
        confirmed = {
            alias: since is not None and self._watch.confirmed_after(alias, since)
            for alias, since in sinces.items()
        }
        state = self._watch.view().state
        if state is None or self._watch.too_new:
            self._end(self._session.on_lapsed())
            return
        cluster = state.active
        seen = self._session.seen
        changed = self._session.on_state(state)
        if changed:
            self._todo.clear()  # what was under way is overtaken
        if self._session.stage is not Stage.RESCUING and self._rescuer.replay is None:
            self._replayed = state.epoch.counter
        self._do(changed)
        if self._lapsed():
            self._end(self._session.on_lapsed())
        if self._session.seen != seen and not changed and self._session.quiesced:
            self._register(cluster)
        opening = self._session.on_registered(cluster, ok=confirmed[cluster] and not self._todo)
        if opening:
            self._opened_since = sinces[cluster]
        self._do(opening)
        if self._transactions is not None and self._transactions.reopen:
            self._open_again()

    def _open_again(self) -> None:
        if self._session.stage is Stage.OPEN and self._target and not self._todo:
            self._do([Open(self._target)])

    def _lapsed(self) -> bool:
        """Say whether the registration under which this producer opened has ended."""
        if not self._target or self._session.stage is not Stage.OPEN:
            return False
        registry = self._registries[self._target]
        overdue, self._overdue = self._overdue, False
        return overdue or registry.lapsed() or registry.since != self._opened_since

    def _do(self, commands: Iterable[Command]) -> None:
        """Work off commands in order; what is not finished goes on in the next turn."""
        self._todo.extend(commands)
        while self._todo and self._perform(self._todo[0]):
            self._todo.popleft()

    def _end(self, commands: list[Command]) -> None:
        """Drop what was under way, if anything overtakes it, and do these."""
        if commands:
            self._todo.clear()
        self._do(commands)

    def _register(self, cluster: str) -> bool:
        with self._registry_locks[cluster]:
            kept = self._registries[cluster].keep(self._client())
        if cluster == self._target or not self._target:
            self._stand_until(self._registries[cluster].valid_until)
        return kept

    def _stand_until(self, until: float) -> None:
        self._valid_until = until
        self._fast.extend(until)

    def _stay_registered(self, cluster: str) -> None:
        """Be registered on every cluster ahead, so that a switch does not wait for it."""
        while not self._threads.stopping.wait(_RENEW_S):
            if self._watch.view().state is not None:
                self._register(cluster)
        with self._registry_locks[cluster]:
            self._registries[cluster].close()

    def _perform(self, command: Command) -> bool:
        """Do one command as far as it goes without waiting; say whether it is finished."""
        match command:
            case Shut():
                with self._lock:
                    self._shut()
                return self._fast.over()
            case Flush(cluster):
                return self._drain(cluster)
            case Open(cluster):
                return self._open(cluster)
            case Rescue():
                return self._rescue(command)

    def _confirm(self) -> None:
        """Once a second, ask which records are replicated, so that the buffer stays small."""
        while not self._threads.stopping.wait(_CONFIRM_S):
            target = self._target
            if target and self._session.stage is Stage.OPEN:
                try:
                    self._rescuer.confirm(target)
                except KafkaException as error:
                    log.debug("what is replicated cannot be found out: %s", error)
        self._rescuer.close()

    def _rescue(self, order: Rescue) -> bool:
        """Put what the copies lack in front of everything that waits."""
        calls = self._transactions.calls if self._transactions is not None else nullcontext()
        with calls, self._serving:  # nobody else takes reports of the lost cluster
            self._target = ""
            if self._rescued != order:
                self._take_from(order.lost)
                self._rescued = order
        try:
            taken = self._rescuer.take(order, self._watch.view())
        except (ClusterUnreachableError, KafkaException) as error:
            log.warning("%s cannot say what it lacks of %s: %s", order.to, order.lost, error)
            self._wakeup.set()
            return False
        if self._transactions is not None:
            self._transactions.owe(taken)
        else:
            self._put_in_front(taken.again)
        for kept, offset in taken.copied:
            self._held.append((order.lost, kept.report, None, acknowledged(kept, offset)))
        self._session.on_rescued()
        return True

    def _put_in_front(self, records: list[Again]) -> None:
        with self._lock:
            for again in reversed(records):
                report = self._written_again(again)
                kept = again.kept
                number = -1 if kept.unsent else kept.partition  # -1: by its key
                record = Outgoing(
                    *(kept.topic, kept.value, kept.key, number),
                    *(report, None, kept.at_ms, again.headers),
                )
                self._waiting.appendleft((record, again.report))

    def _take_from(self, lost: str) -> None:
        """Take back what the lost cluster never acknowledged; once.

        What belongs to a transaction that is aborted is reported instead.
        """
        counts = self._transactions is None or self._transactions.lost(lost)
        self._rescuing = lost if counts else ""
        self._looked = time.time()
        try:
            with self._quietly(lost):
                self._renew(lost)
        finally:
            self._rescuing = ""
        if self._transactions is not None:
            self._transactions.replaced(lost, keep=counts)

    def _renew(self, cluster: str) -> None:
        """Make a cluster's handle anew; what was on its way is reported, or taken back."""
        handle = self._handles[cluster]
        handle.purge()
        while len(handle):
            self._polled(cluster, 0.01)
        # what it may still have on the wire goes with it
        self._handles[cluster] = Producer(self._conf(cluster))

    def _written_again(self, again: Again) -> Report:
        """Return what takes the report of a record that is written again."""
        keep = self._rescuer.keep

        def deliver(error: Any, message: Any) -> None:
            if error is None:
                keep(Kept.of(message, again.headers))
            elif self._rescuing:
                kept = again.kept
                self._take_back(message, again.report, again.headers, kept.at_ms)
                return
            self._tell(again.report, error, message)

        return deliver

    def _finish_replay(self) -> None:
        """Write the manifest when everything that was to be written again is reported."""
        replay, target = self._rescuer.replay, self._target
        if replay is None or not replay.done or self._session.stage is Stage.RESCUING:
            return
        active = target or (self._watch.view().state or _no_state()).active
        record = replay.manifest(self._options.ident).record(self._options.scope)
        with self._registry_locks[active]:
            if not self._registries[active].publish(*record):
                return
        self._replayed, self._rescuer.replay = replay.epoch, None
        self._register(active)

    def _drain(self, cluster: str) -> bool:
        """Flush what was handed over; its reports wait for the application's own poll."""
        handle = self._handles[cluster]
        if self._transactions is not None and not self._transactions.settle(cluster):
            self._wakeup.set()
            return False
        with self._quietly(cluster):
            self._flushed(cluster, 0.05)
        if len(handle):
            self._wakeup.set()
            return False
        self._session.on_flushed()
        self._register(cluster)
        log.debug("quiesced, %d records wait", len(self._waiting))
        return True

    def _open(self, cluster: str) -> bool:
        """Hand over what waits, in order, then let the application write directly."""
        handle = self._handles[cluster]
        if cluster != self._opened:
            self._rescuer.forget()  # the copies are complete, or what they lack waits already
            self._opened = cluster
        self._target = cluster
        self._stand_until(self._registries[cluster].valid_until)
        if self._transactions is not None and not self._transactions.open(cluster):
            return False
        with self._lock:
            takes = self._transactions is None or self._transactions.takes_records
            while takes and self._waiting and self._hand_over(handle, *self._waiting[0]):
                self._waiting.popleft()
            if takes and not self._waiting and not self._closed:
                self._let_through(handle)
        if self._waiting:
            self._wakeup.set()
        return not self._waiting

    def _hand_over(self, handle: Producer, record: Outgoing, report: Report | None) -> bool:
        """Say whether the record is dealt with: handed over, or refused and reported."""
        try:
            handle.produce(*record)
        except BufferError:
            return False
        except KafkaException as error:
            self._refuse(record, report, error.args[0])
        except (TypeError, ValueError) as error:
            self._refuse(record, report, KafkaError(KafkaError.INVALID_RECORD, str(error)))
        return True

    def _refuse(self, record: Outgoing, report: Report | None, error: KafkaError) -> None:
        """Report a record that was never handed over, from the application's own next poll."""
        if report is not None:
            value, key = checked(record.value), checked(record.key)
            message = Message(topic=record.topic, value=value, key=key, error=error)
            self._held.append((self._target, report, error, message))


def _no_state() -> State:
    raise AssertionError("a replay follows a state")

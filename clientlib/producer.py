"""`FailoverProducer`: ``confluent_kafka.Producer`` that writes to the active cluster only.

While the scope is closing it takes records, up to the queue's limit, and hands none over; on the
new epoch it goes on at the new cluster in the same order. Records stay untouched, delivery reports
come from the application's own ``poll`` and ``flush``.
"""

import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clientlib.io import options as opts
from clientlib.io.agent import Agent
from clientlib.io.carry import Carrier
from clientlib.io.handles import Handles
from clientlib.io.intake import Intake
from clientlib.io.kafka import Threads, library_log
from clientlib.io.outgoing import Report
from clientlib.io.registry import Registry
from clientlib.io.reports import Reports
from clientlib.io.rescue import Rescuer
from clientlib.io.transactions import Desk, Transactions
from clientlib.io.watch import give_back, shared_watch
from clientlib.origin import Origin
from clientlib.protocol.errors import NotSupportedError

log = logging.getLogger("clientlib.producer")

_TICK_S = 0.02
_POLL_SLICE_S = 0.1
_SHUT_SLICE_S = 0.005  # the agent, or a commit, takes reports too
_CLOSE_S = 5.0
_REPLAY_MS = 60_000
_REPLAY_BYTES = 256 * 1024 * 1024
_NOT_CONFIGURED = KafkaError._NOT_CONFIGURED  # noqa: SLF001 - confluent-kafka's public spelling


class FailoverProducer(Producer):
    """Drop-in for ``confluent_kafka.Producer``; see the module's docstring.

    Takes the same settings, and ``failover.*`` as `FailoverConsumer` does. ``acks=all`` and
    idempotence are forced (``failover.idempotence: false`` refuses). With ``transactional.id`` it
    has transactions, each of them on one cluster. Raises ConfigurationError for a wrong setting.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = opts.merged(args, kwargs)
        self._plain = not opts.wanted(settings)
        if self._plain:
            warnings.warn(
                "FailoverProducer without failover.config is a plain producer", stacklevel=2
            )
            super().__init__(settings)
            self._produce: Callable[..., None] = super().produce
        else:
            self._set_up(settings)
            self._start()
            self._produce = self._intake.produce
        if type(self).produce is FailoverProducer.produce:  # nobody overrides it: one call less
            self.produce = self._produce  # type: ignore[method-assign]

    def _set_up(self, settings: dict[str, Any]) -> None:
        """Take the settings; nothing is connected yet."""
        self._options = opts.options(settings)
        self._idempotent = settings.get("failover.idempotence", True)
        replay_s = float(settings.get("failover.replay.ms", _REPLAY_MS)) / 1000
        replay_bytes = int(settings.get("failover.replay.bytes", _REPLAY_BYTES))
        self._transactional = "transactional.id" in settings
        self._rescuer = Rescuer(
            self._options, replay_s, replay_bytes, transactional=self._transactional
        )
        self._reports = Reports(self._rescuer)
        self._intake = Intake(settings, self._options.ident, self._reports)

    def _start(self) -> None:
        """Make the handles, and begin to follow the state."""
        failover = self._options.failover
        self._handles = Handles(
            failover.aliases,
            lambda alias: Producer(self._conf(alias)),
            transactional=self._transactional,
        )
        self._watch = shared_watch(failover, self._options.scope)
        self._transactions = self._with_transactions() if self._transactional else None
        self._intake.transactions = self._transactions
        self._threads = Threads("failover-producer")
        self._agent = Agent(
            self._options,
            self._watch,
            {alias: Registry(failover, alias) for alias in failover.aliases},
            handles=self._handles,
            intake=self._intake,
            reports=self._reports,
            rescuer=self._rescuer,
            stopping=self._threads.stopping,
        )
        self._watch.listen(self._agent.wakeup.set)
        self._threads.start("agent", self._agent.follow)
        self._threads.start("replicated", self._agent.confirm)
        self._threads.start("tend", self._agent.tend)
        for alias in failover.aliases:
            self._threads.start(f"register-{alias}", partial(self._agent.stay_registered, alias))
            if self._transactions is not None:
                keep = partial(self._transactions.stay_initialised, alias, self._threads.stopping)
                self._threads.start(f"transactions-{alias}", keep)

    def _with_transactions(self) -> Transactions:
        intake, reports = self._intake, self._reports
        carrier = Carrier(
            self._rescuer, lambda: reports.taking_back, reports.take_back, reports.hold
        )
        desk = Desk(
            lock=intake.lock,
            serving=reports.serving,
            handle=self._handles.of,
            active=self._active_now,
            waiting=lambda: bool(intake.waiting),
            refuse=intake.refuse_waiting,
            let_through=intake.let_through,
            shut=intake.close_path,
            lapsed=intake.out_of_date,
            reporting=reports.told_of,
            serve=reports.serve,
            quietly=reports.quietly,
            renew=self._handles.renew,
        )
        return Transactions(desk, self._rescuer, carrier)

    def _active_now(self) -> str:
        state = self._watch.view().state
        return self._intake.target or (state.active if state is not None else "")

    def _conf(self, alias: str) -> dict[str, Any]:
        conf = self._options.conf(alias)
        if self._idempotent and not self._transactional:  # else it is on in any case
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
            return callback(*args) if self._intake.target in {alias, ""} else None

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
        self._produce(topic, value, key, partition, callback, on_delivery, timestamp, headers)

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], *a: Any, **k: Any) -> int:
        """Take a batch of records; returns how many were taken."""
        if self._plain:
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
        if self._plain:
            return super().poll(timeout)
        intake, reports = self._intake, self._reports
        served = reports.serve()
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            left = max(0.0, deadline - time.monotonic())
            if intake.target:
                wait = 0 if served else min(left, self._slice())
                served += reports.take(lambda: intake.target, self._handles.polled, wait)
            else:
                time.sleep(min(left, _TICK_S))
            served += reports.serve()
            if served or left <= 0:
                return served

    def origin(self, message: Message) -> Origin | None:
        """Say, inside a delivery callback, which cluster took the record; None when plain."""
        if self._plain or message.topic() is None:
            return None
        cluster, offset = self._reports.cluster, message.offset()
        topic, partition = str(message.topic()), message.partition() or 0
        return Origin(cluster, topic, partition, cluster, -1 if offset is None else offset)

    def flush(self, timeout: float = -1) -> int:
        """Wait until every record taken so far is reported; returns how many are left."""
        if self._plain:
            return super().flush(timeout)
        intake, reports = self._intake, self._reports
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        while True:
            reports.serve()
            left = max(0.0, deadline - time.monotonic())
            if intake.target and len(self._handles.of(intake.target)):
                wait = min(left, self._slice())
                reports.take(lambda: intake.target, self._handles.flushed, wait)
            elif left > 0 and len(self):
                time.sleep(min(left, 0.005))
            remaining = len(self)
            if not remaining or left <= 0:
                return remaining

    def _slice(self) -> float:
        """How long reports may be waited for, with nobody else taking any (seconds)."""
        return _POLL_SLICE_S if self._intake.is_open else _SHUT_SLICE_S

    def __len__(self) -> int:
        if self._plain:
            return super().__len__()
        # a standby's handle holds no records, only events that the agent serves
        target = self._intake.target
        handed_over = len(self._handles.of(target)) if target else 0
        return handed_over + len(self._intake.waiting) + len(self._reports.held)

    def __bool__(self) -> bool:
        return True

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """Give up records that are not delivered yet; each is reported as purged."""
        if self._plain:
            super().purge(in_queue, in_flight, blocking)
            return
        if in_queue:
            with self._intake.lock:
                self._intake.refuse_waiting()
        self._reports.serve()
        for handle in self._handles:
            handle.purge(in_queue, in_flight, blocking)

    def close(self, timeout: float = -1) -> Any:
        """Flush, leave the registry, stop the threads, end the connections."""
        if self._plain:
            return super().close()
        if self._intake.closed:
            return True
        if self._transactions is not None:
            self._transactions.close(min(timeout, _CLOSE_S) if timeout >= 0 else _CLOSE_S)
        self.flush(timeout)
        with self._intake.lock:
            self._intake.closed = True
            self._intake.shut()
        self._watch.unlisten(self._agent.wakeup.set)
        ended = self._threads.stop()
        give_back(self._options.failover, self._options.scope)
        left = len(self)
        if ended and self._intake.over():
            with self._reports.serving:  # nobody is inside a handle
                self._handles.close()
                if self._intake.target not in self._handles:
                    self._intake.target = ""
        return left == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> str:
        """For readiness probes: waiting, open, closing or closed."""
        if self._plain:
            return "plain"
        return "closed" if self._intake.closed else self._agent.session.stage.value

    @property
    def active(self) -> str | None:
        """The alias of the cluster that is written to; None for a plain or a waiting producer."""
        return None if self._plain else self._intake.target or None

    # -- the rest goes to the active cluster ---------------------------------------------------

    def _active(self) -> Producer:
        return self._handles.of(self._intake.target or self._options.failover.aliases[0])

    def list_topics(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the active cluster."""
        return (
            super().list_topics(*args, **kwargs)
            if self._plain
            else self._active().list_topics(*args, **kwargs)
        )

    def cluster_id(self, timeout: float = -1) -> Any:
        """Return the active cluster's id."""
        return super().cluster_id(timeout) if self._plain else self._active().cluster_id(timeout)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Set the credentials on every cluster's handle."""
        if self._plain:
            super().set_sasl_credentials(username, password)
            return
        for handle in self._handles:
            handle.set_sasl_credentials(username, password)

    # -- transactions ------------------------------------------------------------------------

    def init_transactions(self, timeout: float = -1) -> None:
        """Be ready on the active cluster, and on the others as soon as they answer."""
        if self._plain:
            super().init_transactions(timeout)
            return
        self._in_transactions().init(timeout)

    def begin_transaction(self) -> None:
        """Begin a transaction; while writes are closed its records wait here."""
        if self._plain:
            super().begin_transaction()
            return
        self._in_transactions().begin()

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit. A transaction that was open when writes closed raises: abort it."""
        if self._plain:
            super().commit_transaction(timeout)
            return
        self._in_transactions().commit(timeout)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort; records that were not delivered are reported as purged."""
        if self._plain:
            super().abort_transaction(timeout)
            return
        self._in_transactions().abort(timeout)

    def send_offsets_to_transaction(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a group's position moves with its commits, not with a transaction."""
        if self._plain:
            super().send_offsets_to_transaction(*args, **kwargs)
            return
        raise NotSupportedError("send_offsets_to_transaction: commit with the consumer instead")

    def _in_transactions(self) -> Transactions:
        if self._transactions is None:
            raise KafkaException(
                KafkaError(_NOT_CONFIGURED, "the Transactional API requires transactional.id")
            )
        return self._transactions

"""An application of wrapped clients in this process, written down for the checkers.

Each application has a control plane, scope, topics and groups of its own, so that scenarios on one
lab do not see each other.
"""

import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import (
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from clientlib import FailoverConsumer, FailoverProducer
from clientlib.protocol.errors import TimedOutError
from clientlib.settings import Settings, load
from failover.checkers import (
    Acked,
    Committed,
    ConsumerCrashed,
    ConsumerStalled,
    ConsumerStarted,
    Delivered,
    EpochSeen,
    Expected,
    History,
    Revoked,
    SendFailed,
    Sent,
    Verdict,
    judge,
)
from failover.core.result import RunResult, SwitchRequest
from failover.engine import connect
from failover.io.history import read_history
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

log = logging.getLogger("tests.application")

KEYS = 40


@dataclass
class Journal:
    """Everything that the application saw, on one monotonic clock."""

    events: list[Any] = field(default_factory=list)
    acked: set[tuple[str, int]] = field(default_factory=set)
    got: dict[str, set[tuple[str, int]]] = field(default_factory=dict)

    def write(self, event: Any) -> None:
        self.events.append(event)  # atomic under the interpreter's lock
        if isinstance(event, Acked):
            self.acked.add((event.producer, event.seq))
        elif isinstance(event, Delivered):
            self.got.setdefault(event.group, set()).add((event.producer, event.seq))


class Producing(threading.Thread):
    """One producer: keyed records at a steady rate, its name and number in each value."""

    def __init__(self, app: "Application", name: str, rate: float, topic: str) -> None:
        super().__init__(name=name, daemon=True)
        self.app, self.rate, self.topic = app, rate, topic
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self.sent = 0
        self.acked = 0
        self.producer = FailoverProducer({"failover.config": app.config, "linger.ms": 1})

    def run(self) -> None:
        try:
            self._produce()
        except BaseException as error:  # noqa: BLE001 - shown by the test that owns the thread
            self.error = error
        finally:
            self.producer.close()

    def _produce(self) -> None:
        begun = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - begun) * self.rate)
            while self.sent < due:
                self.send()
            self.producer.poll(0.002)
        assert self.producer.flush(30) == 0

    def send(self) -> None:
        seq, key = self.sent, f"{self.name}-{self.sent % KEYS}"
        self.app.journal.write(Sent(self.name, seq, self.topic, None, key, time.monotonic()))
        self.producer.produce(
            self.topic,
            f"{self.name} {seq}",
            key,
            on_delivery=lambda error, message: self._reported(seq, error, message),
        )
        self.sent += 1

    def _reported(self, seq: int, error: Any, message: Any) -> None:
        now = time.monotonic()
        if error is not None:
            self.app.journal.write(SendFailed(self.name, seq, str(error), now))
            return
        place = self.producer.origin(message)
        assert place is not None
        self.acked += 1
        self.app.journal.write(
            Acked(self.name, seq, place.cluster, place.topic, place.partition, place.offset, now)
        )


class Consuming(threading.Thread):
    """One member. ``commit``: auto, message, batch (every 50), rare (every 1,000), never.

    ``unwaited`` commits each message, too, and does not wait for the answer.
    """

    def __init__(
        self, app: "Application", name: str, group: str, topics: list[str], **settings: Any
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.app, self.group, self.topics = app, group, topics
        self.commit_mode = settings.pop("commit", "auto")
        self.delay = settings.pop("delay", 0.0)
        self.batch = settings.pop("batch", 0)
        self.stopping = threading.Event()
        self.stalled_until = 0.0
        self.idle = threading.Event()
        """Set while it stalls: it polls no more."""
        self.at_revoke: Callable[[], None] = lambda: None
        """Called first when partitions are revoked."""
        self.error: BaseException | None = None
        self.count = 0
        self.seen: dict[tuple[str, int], int] = {}
        self.late: set[tuple[str, int]] = set()
        self.late_errors: list[Exception] = []
        classic = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        if settings.get("group.protocol") == "consumer":
            classic = {}  # the broker sets these, and librdkafka refuses them
        self.consumer = FailoverConsumer(
            {
                "failover.config": app.config,
                "group.id": group,
                "auto.offset.reset": "earliest",
                **classic,
                "auto.commit.interval.ms": 500,
                "enable.auto.commit": self.commit_mode == "auto",
                **settings,
            }
        )

    def run(self) -> None:
        try:
            self._consume()
        except BaseException as error:
            self.error = error
            log.exception("%s failed", self.name)
        finally:
            self.consumer.close()

    def _consume(self) -> None:
        self.app.journal.write(ConsumerStarted(self.name, self.group, time.monotonic()))
        self.consumer.subscribe(self.topics, on_revoke=self._revoked)
        while not self.stopping.is_set():
            if time.monotonic() < self.stalled_until:
                self.idle.set()
                time.sleep(0.01)  # the application's own work, not a wait for a condition
                continue
            self.idle.clear()
            if self.batch:
                messages = self.consumer.consume(self.batch, 0.1)
            else:
                message = self.consumer.poll(0.1)
                messages = [] if message is None else [message]
            handed = time.monotonic()  # before work in which the process may be stopped
            for message in messages:
                self._process(message, handed)

    def _process(self, message: Any, handed: float) -> None:
        if message.error() is not None:
            if message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return  # subscribed to a topic that comes later
            raise KafkaException(message.error())
        producer, seq = message.value().decode().split()
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        place = self.consumer.origin(message)
        if self.delay:
            time.sleep(self.delay)  # the application's own work
        self.app.journal.write(
            Delivered(
                self.name, self.group, producer, int(seq), topic,
                place.read_on if place else None, partition, offset,
                message.key().decode(), handed,
            )
        )  # fmt: skip
        if place is not None and place.late:
            self.late.add((producer, int(seq)))
        self.count += 1
        self.seen[topic, partition] = offset + 1
        every = {"message": 1, "unwaited": 1, "batch": 50, "rare": 1000}.get(self.commit_mode)
        if every and self.count % every == 0:
            self._commit(message)

    def _commit(self, message: Any) -> None:
        unwaited = self.commit_mode == "unwaited"
        try:
            done = self.consumer.commit(message=message, asynchronous=unwaited)
        except KafkaException as error:
            self.late_errors.append(error)  # a rebalance came in between: the next one repairs
            return
        for tp in done or []:
            self._committed(tp.topic, tp.partition, tp.offset)

    def _committed(self, topic: str, partition: int, offset: int) -> None:
        place = self.consumer.active
        self.app.journal.write(
            Committed(self.name, self.group, place, topic, partition, offset, time.monotonic())
        )

    def _revoked(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self.at_revoke()
        keys = [(tp.topic, tp.partition) for tp in partitions]
        own = [TopicPartition(*key, self.seen[key]) for key in keys if key in self.seen]
        if own and self.commit_mode in {"message", "batch", "rare"}:
            try:
                consumer.commit(offsets=own, asynchronous=False)
            except KafkaException as error:
                self.late_errors.append(error)
        for key in keys:
            self.seen.pop(key, None)
            self.app.journal.write(Revoked(self.name, self.group, *key, time.monotonic()))


class Process:
    """A consumer in a process of its own, which can be killed, stopped and continued."""

    def __init__(
        self,
        app: "Application",
        name: str,
        group: str,
        script_name: str = "member.py",
        **settings: Any,
    ) -> None:
        self.app, self.name, self.group = app, name, group
        self.events = Path(app.config).with_name(f"{name}-{app.tag}.jsonl")
        script = Path(__file__).with_name(script_name)
        pairs = [f"{key}={value}" for key, value in settings.items()]
        arguments = [app.config, name, group, app.topic, str(self.events), *pairs]
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(script.parent), str(Path.cwd())]),
        }
        self.process = subprocess.Popen([sys.executable, str(script), *arguments], env=environ)

    def delivered(self) -> int:
        return len(read_history([self.events]).delivered) if self.events.exists() else 0

    def acknowledged(self) -> int:
        return len(read_history([self.events]).acked) if self.events.exists() else 0

    def signal(self, number: int) -> None:
        self.process.send_signal(number)
        if number == signal.SIGSTOP:  # its threads run on until each of them has seen the signal
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        if number in {signal.SIGSTOP, signal.SIGCONT}:
            stalled = ConsumerStalled(self.name, self.group, time.monotonic())
            self.app.journal.write(stalled)
        elif number == signal.SIGKILL:
            self.process.wait(20)
            if not self.group:
                return
            self.app.journal.write(ConsumerCrashed(self.name, self.group, time.monotonic()))

    def end(self) -> None:
        """Stop it in order and take its events over."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)

    def history(self) -> list[Any]:
        found = read_history([self.events])
        return [
            event
            for events in (
                *(found.sent, found.acked, found.failed),
                *(found.delivered, found.committed, found.revoked, found.broken),
            )
            for event in events
        ]


class Application:
    """Producers, consumers and the switches between clusters, on topics of their own."""

    def __init__(
        self, lab: Lab, directory: Path, *, partitions: int = 6, init: bool = True
    ) -> None:
        self.lab, self.partitions = lab, partitions
        self.tag = uuid.uuid4().hex[:6]
        self.topic = f"T{self.tag}"
        self.journal = Journal()
        self.producers: list[Producing] = []
        self.consumers: list[Consuming] = []
        self.processes: list[Process] = []
        self.senders: list[Process] = []
        self.active = "LEFT"
        self.epoch = 1
        self.directory = directory
        self.reconfigure()
        for alias in lab.aliases:
            self.create_topic(alias, self.topic)
        if init:
            with connect(self.settings) as orchestrator:
                begun = orchestrator.init("LEFT")
                assert begun.exit_code == 0, begun
            self.note_epoch()

    def reconfigure(self, **more: Any) -> None:
        """Write failover.yaml for the clusters that the lab has now, with more of its keys."""
        self.config = str(self._write_config(more))
        self.settings: Settings = load(self.config)
        self.admins = {
            alias: AdminClient({"bootstrap.servers": self.lab.bootstrap(alias)})
            for alias in self.lab.aliases
        }

    def _write_config(self, more: Mapping[str, Any]) -> Path:
        body = yaml.safe_load(self.lab.config_path.read_text())
        body["control"] = {"prefix": f"fo-{self.tag}", "state_partitions": 1}
        pattern = f".*{self.tag}.*"
        body["scopes"] = {"default": {"topics": [pattern], "groups": [pattern]}}
        body |= more
        path = self.directory / f"failover-{self.tag}.yaml"
        path.write_text(yaml.safe_dump(body))
        return path

    def create_topic(self, alias: str, topic: str, partitions: int | None = None) -> None:
        wanted = [NewTopic(topic, partitions or self.partitions, 1)]
        for future in self.admins[alias].create_topics(wanted).values():
            future.result()

    def group(self, name: str = "g") -> str:
        return f"{name}-{self.tag}"

    def note_epoch(self) -> None:
        self.journal.write(EpochSeen("tool", self.epoch, self.active, time.monotonic()))

    def note_epoch_of(self, to: str) -> None:
        """Announce an epoch that a tool in another process is about to open."""
        self.epoch += 1
        self.journal.write(EpochSeen("tool", self.epoch, to, time.monotonic()))

    # -- clients -------------------------------------------------------------------------------

    def produce(self, count: int = 1, rate: float = 200, topic: str | None = None) -> None:
        for _ in range(count):
            name = f"p{len(self.producers)}"
            self.producers.append(Producing(self, name, rate, topic or self.topic))
            self.producers[-1].start()

    def consume(self, count: int = 1, group: str = "g", **settings: Any) -> list[Consuming]:
        topics = settings.pop("topics", [self.topic])
        started = []
        for _ in range(count):
            name = f"c{len(self.consumers)}"
            member = Consuming(self, name, self.group(group), topics, **settings)
            self.consumers.append(member)
            started.append(member)
            member.start()
        return started

    def consume_apart(self, group: str = "g", **settings: Any) -> Process:
        """Start a consumer in a process of its own."""
        name = f"x{len(self.processes)}"
        self.processes.append(Process(self, name, self.group(group), **settings))
        return self.processes[-1]

    def produce_apart(self, rate: float = 200) -> Process:
        """Start a producer in a process of its own."""
        name = f"y{len(self.senders)}"
        self.senders.append(Process(self, name, "", "sender.py", rate=rate))
        return self.senders[-1]

    def stop(self, members: Iterable[threading.Thread]) -> None:
        chosen = list(members)
        for member in chosen:
            member.stopping.set()  # type: ignore[attr-defined]  # both kinds have it
        for member in chosen:
            member.join(60)
            if member.is_alive():
                faulthandler.dump_traceback()  # where it hangs
            assert not member.is_alive(), f"{member.name} does not stop"

    def wait_flowing(self, timeout_s: float = 60) -> None:
        """Wait until every producer is acknowledged and every group has got that."""
        for producer in self.producers:
            wait_until(
                lambda p=producer: p.acked > 0 or p.error is not None,  # type: ignore[misc]
                timeout_s=timeout_s,
                what=f"{producer.name} is not acknowledged",
            )
        self.wait_caught_up(timeout_s)
        # what the next switch's preflight wants: every partition owned on both sides
        self.wait_settled(timeout_s)

    def wait_group(self, alias: str, state: ConsumerGroupState, timeout_s: float = 30) -> None:
        """Wait until the coordinator of a cluster says this of the group."""

        def reached() -> bool:
            asked = self.admins[alias].describe_consumer_groups([self.group()])
            return asked[self.group()].result(10).state is state

        wait_until(reached, timeout_s=timeout_s, what=f"the group is not {state.name}")

    def wait_settled(self, timeout_s: float = 60) -> None:
        wait_until(
            lambda: all(c.consumer.state == "reading" for c in self.living()),
            timeout_s=timeout_s,
            what="members are still moving",
        )

    def ends(
        self, alias: str, topic: str, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> dict[int, int]:
        """Return the (last stable) end of each partition of a physical topic."""
        self.admins[alias].list_topics(timeout=10)  # else list_offsets may crash (decision 23)
        asked = {TopicPartition(topic, n): OffsetSpec.latest() for n in range(self.partitions)}
        found = self.admins[alias].list_offsets(asked, isolation_level=isolation)
        return {tp.partition: one.result(10).offset for tp, one in found.items()}

    def wait_copied(self, timeout_s: float = 60) -> None:
        """Wait until the standby has what the active cluster holds now of each partition."""
        (standby,) = (alias for alias in self.lab.aliases if alias != self.active)
        wanted, copy = self.ends(self.active, self.topic), f"{self.active}.{self.topic}"

        def copied() -> bool:
            known = copy in self.admins[standby].list_topics(timeout=10).topics
            return known and all(e >= wanted[n] for n, e in self.ends(standby, copy).items())

        wait_until(copied, timeout_s=timeout_s, what=f"{copy} on {standby} is behind")

    def living(self) -> list[Consuming]:
        return [c for c in self.consumers if c.is_alive() and not c.stopping.is_set()]

    def wait_caught_up(
        self,
        timeout_s: float = 60,
        *,
        groups: Iterable[str] = (),
        but: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """Wait until groups have got what is acknowledged by now, however much follows.

        All groups, if none is named. ``but`` are records that they do not want.
        """
        acked = self.acked() - but
        every = {c.group for c in (*self.consumers, *self.processes)}
        lacking = dict.fromkeys(groups or every, acked)

        def caught_up() -> bool:
            for group, records in lacking.items():
                if records:
                    got = self.got(group)
                    lacking[group] = {record for record in records if record not in got}
            return not any(lacking.values())

        try:
            wait_until(caught_up, timeout_s=timeout_s, what="groups lack records")
        except TimedOutError as error:
            lack = {group: (len(left), sorted(left)[:5]) for group, left in lacking.items()}
            states = {c.name: c.consumer.state for c in self.living()}
            raise AssertionError(f"{error}: {lack} of {len(acked)}; members are {states}") from None

    def missing(self, group: str) -> int:
        """Return how many acknowledged records a group has not got yet."""
        return len(self.acked() - self.got(group))

    def acked(self) -> set[tuple[str, int]]:
        """Return the records acknowledged to producers here and in processes of their own."""
        found = set(self.journal.acked)
        for sender in self.senders:
            if sender.events.exists():
                found |= {(e.producer, e.seq) for e in read_history([sender.events]).acked}
        return found

    def got(self, group: str) -> set[tuple[str, int]]:
        """Return the records delivered to a group's members, here and in processes."""
        found = set(self.journal.got.get(group, ()))
        found |= {(e.producer, e.seq) for x in self.processes for e in _delivered(x, group)}
        return found

    # -- switching -----------------------------------------------------------------------------

    def request(self, to: str, **more: Any) -> SwitchRequest:
        return replace(SwitchRequest("default", to, timeout_s=30.0), **more)

    def switch(self, to: str, *, retry_s: float = 60.0, **more: Any) -> RunResult:
        """Switch, waiting out preflight findings that pass by themselves (a rebalance, lag)."""
        if to != self.active:
            self.note_epoch_of(to)
        deadline = time.monotonic() + retry_s
        while True:
            with connect(self.settings) as orchestrator:
                result = orchestrator.switch(self.request(to, **more))
            if result.result not in {"refused", "unreachable"} or time.monotonic() > deadline:
                break
            log.info("the switch is tried again: %s", result.message)
            time.sleep(0.2)
        if result.changed and result.target == to:
            self.active = to
        return result

    def emergency(self, to: str, **more: Any) -> RunResult:
        """Give the active cluster up."""
        self.note_epoch_of(to)
        with connect(self.settings, timeout_s=3.0) as orchestrator:
            request = self.request(to, emergency=True, allow_data_loss=True, **more)
            result = orchestrator.switch(request)
        if result.changed:
            self.active = to
        else:
            self.epoch -= 1
        return result

    def round_trip(self, rounds: int = 1, between: Callable[[], None] = lambda: None) -> None:
        for _ in range(rounds):
            for to in ("RIGHT", "LEFT"):
                result = self.switch(to)
                assert result.exit_code == 0, result
                between()

    # -- the verdict ---------------------------------------------------------------------------

    def finish(self, *, strict: bool = True, expected: Iterable[Any] | None = None) -> Verdict:
        """Stop producers, let every group drain, stop consumers, judge."""
        self.stop(self.producers)
        for sender in self.senders:
            sender.end()
        for producer in self.producers:
            assert producer.error is None, producer.error
        if expected is None:
            self.wait_caught_up(90)
        self.stop([c for c in self.consumers if c.is_alive()])
        for consumer in self.consumers:
            assert consumer.error is None, consumer.error
        for process in (*self.processes, *self.senders):
            process.end()
        members = (*self.consumers, *self.processes)
        groups: Iterable[str | Expected] = expected or {c.group for c in members}
        apart = [e for process in (*self.processes, *self.senders) for e in process.history()]
        history = History.of([*self.journal.events, *apart])
        verdict = judge(history, groups=groups, strict=strict)
        assert verdict.acked > 0
        assert verdict.delivered > 0
        return verdict

    def close(self) -> None:
        """Stop whatever still runs; a failing test must leave nothing behind."""
        running = [t for t in (*self.producers, *self.consumers) if t.is_alive()]
        for thread in running:
            thread.stopping.set()
        for process in (*self.processes, *self.senders):
            if process.process.poll() is None:
                process.process.kill()
                process.process.wait(10)
        for thread in running:
            thread.join(20)
        self._delete_topics()

    def _delete_topics(self) -> None:
        """Leave no topics: hundreds of partitions make a killed broker slow to come back."""
        for admin in self.admins.values():
            try:
                listed = admin.list_topics(timeout=5).topics
                ours = [name for name in listed if self.tag in name]
                for future in admin.delete_topics(ours).values() if ours else ():
                    future.result(10)
            except KafkaException as error:
                log.info("topics of %s stay: %s", self.tag, error)


def _delivered(process: Process, group: str) -> tuple[Delivered, ...]:
    if process.group != group or not process.events.exists():
        return ()
    return read_history([process.events]).delivered


def tool(
    app: Application, to: str, step: str, name: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process of its own that sends itself a signal when a step begins."""
    script = Path(__file__).with_name("tool.py")
    return subprocess.run(
        [sys.executable, str(script), app.config, to, step, name, *options],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

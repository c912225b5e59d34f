"""The story: real Kafka, a working application, a switch to RIGHT, a failback, a verdict.

`play` needs a lab that is up; `stage` brings one up and leaves nothing behind, whatever happens.
"""

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from clientlib.protocol.errors import ConfigurationError
from failover.checkers import History, judge
from failover.demo.application import Application
from failover.demo.timeline import Moment, Ran, Told, in_order, moments_of, pauses_of
from failover.demo.tool import Answer, Say, Tool
from failover.io.history import HistoryWriter
from failover.lab.lab import Lab

LEFT, RIGHT = "LEFT", "RIGHT"
_FLOW_S = 60.0
_READY_S = 120.0  # a member that was left behind on a killed cluster stays there for 45 s
_DRAIN_S = 60.0
_LAG_S = 0.3


@dataclass(frozen=True, slots=True)
class Script:
    """What is played. ``rate`` is records a second of each producer.

    ``commits``: one consumer for each, with that way to commit. ``pause_s``: how long the
    application works between two switches. ``rounds``: of a switch to RIGHT and a failback.
    ``disasters``: so often LEFT is then killed under load, given up, started again, taken back.
    """

    rounds: int = 1
    rate: float = 500.0
    producers: int = 2
    commits: Sequence[str] = ("auto", "batch", "message")
    partitions: int = 6
    topic: str = "orders"
    group: str = "billing"
    pause_s: float = 3.0
    disasters: int = 0


@contextmanager
def stage(directory: Path | None, *, keep: bool, say: Say) -> Iterator[tuple[Lab, Path]]:
    """Give a lab that is up and a directory for everything else; take both away afterwards.

    Without ``directory`` a temporary one is used. ``keep`` leaves the lab up and the files there.
    SIGTERM ends the stage as Ctrl-C does, and neither can interrupt the taking down.
    """
    path = directory or Path(tempfile.mkdtemp(prefix="failover-demo-"))
    made = directory is None or not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    lab = Lab.create(path / "lab", (LEFT, RIGHT), say=say)
    with _signals() as no_more_signals:
        try:
            lab.up()
            yield lab, path
        finally:
            no_more_signals()
            if keep:
                say(f"the lab stays up in {lab.directory}; look at it with")
                say(f"    failover -c {lab.config_path} status")
                say(f"and take it down with\n    failover lab down --dir {lab.directory}")
            else:
                say("taking everything down")
                lab.down()
                _remove(path, everything=made)


def _remove(path: Path, *, everything: bool) -> None:
    """Remove what the story wrote; a directory that was there before keeps the rest."""
    shutil.rmtree(path if everything else path / "application", ignore_errors=True)


@contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """Turn SIGTERM into KeyboardInterrupt; gives a function that makes both signals wait."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread may set handlers
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, interrupt)

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def play(lab: Lab, directory: Path, script: Script, say: Say) -> Told:
    """Play the story on a lab that is up, initialising it, and judge it.

    Raises RemoteError when a process ends, a command fails or nothing flows, ConfigurationError
    when a story was played in ``directory`` before: its records would be mistaken for these.
    """
    home = directory / "application"
    if home.exists():
        raise ConfigurationError(f"{home} holds another story; remove it or use another --dir")
    home.mkdir(parents=True)
    return _Play(lab, home, script, say).run()


def create_topics(lab: Lab, names: Sequence[str], partitions: int) -> None:
    """Create topics on every cluster."""
    for alias in lab.aliases:
        admin = AdminClient({"bootstrap.servers": lab.bootstrap(alias), "log_level": 3})
        made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        for future in made.values():
            future.result(timeout=30)


class _Play:
    """One performance: the steps of the story in order, and what was noted on the way."""

    def __init__(self, lab: Lab, home: Path, script: Script, say: Say) -> None:
        self._lab, self._home, self._script, self._say = lab, home, script, say
        self._begun = time.monotonic()
        self._notes: list[Moment] = []
        self._runs: list[Ran] = []
        self._tool_history = home / "tool.jsonl"

    def run(self) -> Told:
        script, config = self._script, self._lab.config_path
        with (
            HistoryWriter(self._tool_history) as history,
            Application(config, self._home, script.topic, script.group) as application,
        ):
            tool = Tool(config, history, self._say, self._home / "tool.log")
            self._prepare(tool)
            self._start(application)
            for number in range(1, script.rounds + 1):
                self._round(tool, application, number)
            for _ in range(script.disasters):
                self._disaster(tool, application)
            self._finish(application)
            return self._judge(application.history(self._tool_history))

    def _prepare(self, tool: Tool) -> None:
        script = self._script
        create_topics(self._lab, [script.topic], script.partitions)
        self._note("tool", f"{LEFT} takes the writes, epoch {tool.init(LEFT).document['epoch']}")

    def _start(self, application: Application) -> None:
        script = self._script
        self._say(
            f"an application starts: {script.producers} producers of {script.rate:g} records/s, "
            f"{len(script.commits)} consumers in group {script.group}, each in its own process"
        )
        application.consume(script.commits)
        application.produce(script.producers, script.rate)
        self._flowing(application)
        self._note("consumers", f"all {script.partitions} partitions are read, nothing is behind")

    def _flowing(self, application: Application) -> None:
        script = self._script
        behind = max(10, int(script.rate * script.producers * _LAG_S))
        application.wait_flowing(script.partitions, behind, timeout_s=_FLOW_S)

    def _round(self, tool: Tool, application: Application, number: int) -> None:
        script = self._script
        moves = ((RIGHT, ("switch", "--to", RIGHT, "--yes")), (LEFT, ("failback", "--yes")))
        for target, command in moves:
            application.run_on(script.pause_s)
            self._flowing(application)
            if number == 1:
                tool.until_ready(target, timeout_s=_READY_S)
            self._ended(tool.move(*command, target=target))
        if script.rounds > 1:
            self._say(f"round {number} of {script.rounds}: {application.acked:,} records so far")

    def _disaster(self, tool: Tool, application: Application) -> None:
        """Kill LEFT, go on at RIGHT with what is there, take LEFT back when it has returned."""
        script = self._script
        application.run_on(script.pause_s)
        self._flowing(application)
        self._say(f"{LEFT} is killed: SIGKILL, in the middle of everything")
        self._lab.kill(LEFT)
        self._note("lab", f"{LEFT} is killed under load")
        given_up = ("switch", "--to", RIGHT, "--emergency", "--allow-data-loss", "--yes")
        self._ended(tool.move(*given_up, target=RIGHT))
        application.run_on(script.pause_s)
        self._say(f"{LEFT} is started again")
        self._lab.start(LEFT)
        self._note("lab", f"{LEFT} is back, with its disk")
        answer = tool.patiently("rejoin", LEFT, timeout_s=_READY_S)
        self._note("tool", str(answer.document["message"]))
        tool.until_ready(LEFT, timeout_s=_READY_S)
        self._ended(tool.move("failback", "--yes", target=LEFT))

    def _ended(self, answer: Answer) -> None:
        self._runs.append(_ran(answer))
        self._say(f"  {_summary(answer)}")

    def _finish(self, application: Application) -> None:
        application.run_on(self._script.pause_s)
        self._say("the producers stop; the consumers read what is left")
        application.stop_producers()
        self._note("producers", "stopped, every record is reported")
        if application.wait_drained(timeout_s=_DRAIN_S):
            self._note("consumers", "have read every record")
        else:
            self._note("consumers", f"still lack {application.missing:,} records; stopped")
        application.stop_consumers()

    def _judge(self, history: History) -> Told:
        script = self._script
        pauses = pauses_of(history, self._runs)
        moments = [*self._notes, *(moment for one in pauses for moment in moments_of(one))]
        return Told(
            producers=script.producers,
            consumers=len(script.commits),
            partitions=script.partitions,
            rate=script.rate,
            begun_at=self._begun,
            moments=in_order(moments),
            pauses=pauses,
            verdict=judge(history, groups=[script.group]),
        )

    def _note(self, who: str, what: str) -> None:
        self._notes.append(Moment(time.monotonic(), who, what))


def _ran(answer: Answer) -> Ran:
    offset = time.time() - time.monotonic()
    return Ran(answer.command, answer.document, answer.begun_at, answer.ended_at, offset)


def _summary(answer: Answer) -> str:
    document = answer.document
    closed = document["measured"].get("closed_ms")
    told = "" if closed is None else f"; writes were closed for {closed} ms"
    again = document["measured"].get("replayed")
    told += "" if again is None else f"; {again:,} records were written again by their producers"
    return f"{document['to']} is active, epoch {document['epoch']}{told}"

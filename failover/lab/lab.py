"""The lab: real Kafka clusters of one broker each, and a real MirrorMaker 2 between them.

Everything lives in one directory: ``lab.json`` (what the lab consists of), ``failover.yaml``,
``mm2.properties``, and a directory for each process with its settings, data, log and pid file.
"""

import random
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from clientlib.protocol.errors import ConfigurationError, RemoteError
from failover.lab import classdata, probes, requirements, settings
from failover.lab.jars import ensure_jars, exclusive
from failover.lab.java import Java
from failover.lab.processes import (
    ManagedProcess,
    end_process,
    processes_with_argument,
    wait_until,
    write_atomically,
)
from failover.lab.settings import MM2, Broker, Layout
from failover.lab.status import ClusterStatus, LabStatus, ProcessStatus

_STATE = "lab.json"
_CONFIG = "failover.yaml"
_MM2_CONFIG = "mm2.properties"
_BROKER_TIMEOUT_S = 180  # killed, on a busy machine: a minute and more
_MM2_TIMEOUT_S = 120
_RECORD_TIMEOUT_S = 15

Say = Callable[[str], None]


class Lab:
    """A lab in ``directory``. As a context manager it is up inside and gone afterwards.

    Make one with ``Lab.create`` or take up an existing one with ``Lab.open``. ``name`` stands for
    a cluster alias or ``mm2``. ``say`` gets one line for each thing that takes a while.
    """

    def __init__(self, directory: Path, layout: Layout, say: Say = lambda _: None) -> None:
        self._directory = directory
        self._layout = layout
        self._say = say

    @classmethod
    def create(
        cls,
        directory: Path | str,
        clusters: Sequence[str] = ("LEFT", "RIGHT"),
        *,
        mm2: bool = True,
        broker_overrides: Mapping[str, str] | None = None,
        mm2_overrides: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
    ) -> Self:
        """Return the lab of ``directory``, laying it out (free ports, ids) if there is none.

        Starts nothing. Overrides are verbatim settings of ``server.properties`` and
        ``mm2.properties``. Raises ConfigurationError for aliases that cannot be, and when the
        directory holds a lab of other clusters.
        """
        settings.check_aliases(clusters, mm2=mm2)
        path = Path(directory).absolute()
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path / ".lock"):
            if (path / _STATE).exists():
                return cls._existing(path, clusters, mm2=mm2, say=say)
            layout = Layout(
                _lay_out(clusters), mm2, dict(broker_overrides or {}), dict(mm2_overrides or {})
            )
            write_atomically(path / _STATE, settings.dump_layout(layout))
        return cls(path, layout, say)

    @classmethod
    def open(cls, directory: Path | str, *, say: Say = lambda _: None) -> Self:
        """Return the lab that ``create`` laid out in ``directory``, or raise ConfigurationError."""
        path = Path(directory).absolute()
        try:
            text = (path / _STATE).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigurationError(
                f"there is no lab in {directory}; start one with `failover lab up`"
            ) from error
        return cls(path, settings.load_layout(text), say)

    @classmethod
    def _existing(cls, path: Path, clusters: Sequence[str], *, mm2: bool, say: Say) -> Self:
        lab = cls.open(path, say=say)
        if lab.aliases != tuple(clusters) or lab.has_mm2 != mm2:
            raise ConfigurationError(
                f"{path} holds a lab of {', '.join(lab.names)}; take it down first with "
                f"`failover lab down --dir {path}`, or use another --dir"
            )
        return lab

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def directory(self) -> Path:
        """Where everything of this lab lives."""
        return self._directory

    @property
    def aliases(self) -> tuple[str, ...]:
        """The clusters."""
        return self._layout.aliases

    @property
    def names(self) -> tuple[str, ...]:
        """Every process: the aliases, then ``mm2`` unless the lab has none."""
        return self._layout.names

    @property
    def has_mm2(self) -> bool:
        """Whether MirrorMaker 2 belongs to this lab."""
        return self._layout.mm2

    @property
    def config_path(self) -> Path:
        """``failover.yaml`` for the tool and the clients; there after ``up``."""
        return self._directory / _CONFIG

    def bootstrap(self, alias: str) -> str:
        """Return ``bootstrap.servers`` of a cluster."""
        return self._layout.broker(alias).bootstrap

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        self._check(name)
        return self._directory / name / f"{name}.log"

    def status(self) -> LabStatus:
        """Observe every process and ask every cluster; takes up to a second for a dead one."""
        brokers = self._layout.brokers
        with ThreadPoolExecutor(len(brokers)) as pool:
            clusters = tuple(pool.map(self._cluster_status, brokers))
        mm2 = self._process(MM2).pid if self._layout.mm2 else None
        mm2_status = ProcessStatus(mm2, mm2 is not None) if self._layout.mm2 else None
        return LabStatus(str(self._directory), clusters, mm2_status)

    def _cluster_status(self, broker: Broker) -> ClusterStatus:
        pid = self._process(broker.alias).pid
        reachable = (
            pid is not None
            and probes.accepts(broker.port)
            and probes.is_reachable(broker.bootstrap)
        )
        return ClusterStatus(broker.alias, broker.bootstrap, pid, pid is not None, reachable)

    def up(self) -> bool:
        """Start what does not run and return when records flow; False if everything ran already.

        All at once: formats, brokers; then MirrorMaker 2. Whatever fails, nothing that this call
        started is left running; logs stay until ``down``.
        """
        with exclusive(self._directory / ".lock"):
            missing = [n for n in self._layout.names if not self._process(n).alive]
            if not missing:
                return False
            try:
                self._start_all(missing)
            except BaseException:
                for name in missing:
                    self._process(name).kill()
                raise
        return True

    def _start_all(self, names: Iterable[str]) -> None:
        java = self._java(check_memory=True)
        self._write_settings()
        brokers = [self._layout.broker(name) for name in names if name != MM2]
        if brokers:
            self._say(f"starting Kafka: {', '.join(b.alias for b in brokers)}")
            with ThreadPoolExecutor(len(brokers)) as pool:
                list(pool.map(lambda broker: self._start_broker(java, broker), brokers))
        if MM2 in names:
            self._start_mm2(java)

    def _java(self, *, check_memory: bool = False) -> Java:
        executable = requirements.java()
        if check_memory:
            requirements.check_memory(
                len(self._layout.brokers),
                mm2=self._layout.mm2,
                available_mb=requirements.available_memory_mb(),
            )
        return Java(executable, ensure_jars(self._say), self._mark)

    @property
    def _mark(self) -> str:
        """An argument of every process of this lab, by which ``down`` finds even lost ones."""
        return _mark(self._directory)

    def _write_settings(self) -> None:
        layout = self._layout
        write_atomically(self.config_path, settings.render_failover_yaml(layout))
        for broker in layout.brokers:
            home = self._directory / broker.alias
            values = settings.broker_settings(broker, str(home / "data"), layout.broker_overrides)
            write_atomically(home / "server.properties", settings.render_properties(values))
        if layout.mm2:
            mm2 = settings.mm2_settings(layout)
            write_atomically(self._directory / _MM2_CONFIG, settings.render_properties(mm2))

    def _start_broker(self, java: Java, broker: Broker) -> None:
        home = self._directory / broker.alias
        java.format_storage(home / "server.properties", broker.cluster_id, home / "data")
        command = java.broker(home)
        self._process(broker.alias).spawn(command, log=self.log(broker.alias), env=java.env())
        wait_until(
            lambda: (
                self._still_runs(broker.alias)
                and probes.accepts(broker.port)
                and probes.is_reachable(broker.bootstrap, timeout_s=0.5)
            ),
            timeout_s=_BROKER_TIMEOUT_S,
            what=f"{broker.alias} did not answer (see {self.log(broker.alias)})",
        )

    def _start_mm2(self, java: Java) -> None:
        down = [c.alias for c in self.status().clusters if not c.reachable]
        if down:
            raise RemoteError(
                f"MirrorMaker 2 starts only when all its clusters answer, and {', '.join(down)} "
                f"does not; start it first with `failover lab start {down[0]}`"
            )
        self._say("starting MirrorMaker 2")
        before = probes.heartbeat_ends(self._layout)
        command = java.mm2(self._directory / MM2, self._directory / _MM2_CONFIG)
        self._process(MM2).spawn(command, log=self.log(MM2), env=java.env())
        wait_until(
            lambda: (
                self._still_runs(MM2)
                and probes.all_grew(before, probes.heartbeat_ends(self._layout))
            ),
            timeout_s=_MM2_TIMEOUT_S,
            what=f"MirrorMaker 2 did not copy in every direction (see {self.log(MM2)})",
        )

    def _still_runs(self, name: str) -> bool:
        if not self._process(name).alive:
            raise RemoteError(f"{name} ended while starting:\n{_tail(self.log(name))}")
        return True

    def start(self, name: str) -> bool:
        """Start one process and wait until it is ready; False if it ran already.

        MirrorMaker 2 needs every cluster to start; it goes on when one dies later.
        """
        self._check(name)
        with exclusive(self._directory / ".lock"):
            if self._process(name).alive:
                return False
            try:
                self._start_all([name])
            except BaseException:
                self._process(name).kill()
                raise
        return True

    def override_mm2(self, overrides: Mapping[str, str]) -> None:
        """Replace the overrides of ``mm2.properties``; they count from MM2's next start on."""
        with exclusive(self._directory / ".lock"):
            self._layout = replace(self._layout, mm2_overrides=dict(overrides))
            write_atomically(self._directory / _STATE, settings.dump_layout(self._layout))

    def rebuild(self, alias: str, *, to: str = "", same_id: bool = False) -> None:
        """Replace a cluster that does not run by an empty one; ``to`` is its new alias.

        Kafka's own id of it is another one, unless ``same_id``: a disk that was formatted anew.
        MirrorMaker 2 hears of a new alias when it starts.
        """
        with exclusive(self._directory / ".lock"):
            if self._process(alias).alive:
                raise ConfigurationError(f"{alias} runs; end it first with `failover lab kill`")
            old = self._layout.broker(alias).cluster_id
            ident = old if same_id else settings.cluster_id(uuid.uuid4().bytes)
            self._layout = settings.rebuilt(self._layout, alias, to or alias, ident)
            write_atomically(self._directory / _STATE, settings.dump_layout(self._layout))
            shutil.rmtree(self._directory / alias)

    def transactions(self, alias: str, *arguments: str) -> str:
        """Run Kafka's ``kafka-transactions.sh`` on a cluster and return what it prints.

        Raises RemoteError with all of its output when it fails.
        """
        main = "org.apache.kafka.tools.TransactionsCommand"
        server = ("--bootstrap-server", self.bootstrap(alias))
        return self._java().tool(self._directory / alias, main, *server, *arguments)

    def kill(self, name: str) -> None:
        """SIGKILL: the process loses what it did not write, and returns nothing to anyone."""
        self._managed(name).kill()

    def stop(self, name: str) -> None:
        """SIGTERM, and wait for its orderly end."""
        self._managed(name).terminate()
        classdata.keep(self._directory / name)

    def pause(self, name: str) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._managed(name).pause()

    def resume_process(self, name: str) -> None:
        """SIGCONT."""
        self._managed(name).resume()

    def down(self) -> None:
        """End every process of this lab and remove every file; harmless when there is nothing."""
        if not self._directory.exists():
            return
        with exclusive(self._directory / ".lock"):
            try:
                self._keep_class_data()
            finally:
                self._kill_all()
                self._remove_files()

    def _keep_class_data(self) -> None:
        """End those in good order that record class data: once for each installation of Java."""
        recording = [
            name
            for name in self._layout.names
            if classdata.records(self._directory / name) and self._process(name).alive
        ]
        # MirrorMaker 2 first: it does not end while its clusters are gone.
        for name in reversed(recording):
            home = self._directory / name
            if classdata.records(home):  # no broker before it has recorded the same
                self._process(name).terminate(timeout_s=_RECORD_TIMEOUT_S)
                classdata.keep(home)

    def _kill_all(self) -> None:
        for name in self._layout.names:
            self._process(name).kill()
        end_lost_processes(self._directory)

    def _remove_files(self) -> None:
        for name in self._layout.names:
            shutil.rmtree(self._directory / name, ignore_errors=True)
        for file in (_CONFIG, _MM2_CONFIG, _STATE, ".lock"):
            (self._directory / file).unlink(missing_ok=True)
        if not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _managed(self, name: str) -> ManagedProcess:
        self._check(name)
        process = self._process(name)
        if not process.alive:
            raise ConfigurationError(f"{name} does not run; start it with `failover lab start`")
        return process

    def _check(self, name: str) -> None:
        if name not in self._layout.names:
            raise ConfigurationError(
                f"the lab has no process {name!r}; it has {', '.join(self._layout.names)}"
            )

    def _process(self, name: str) -> ManagedProcess:
        return ManagedProcess(self._directory / name / "pid.json")


def end_lost_processes(directory: Path | str) -> int:
    """SIGKILL what a lab in ``directory`` started, without its files; return how many there were.

    For a process of which no pid file tells, because its starter was killed too.
    """
    lost = list(processes_with_argument(_mark(Path(directory).absolute())))
    for identity in lost:
        end_process(identity, timeout_s=10)
    return len(lost)


def _mark(directory: Path) -> str:
    return f"-Dfailover.lab={directory}"


def _lay_out(clusters: Sequence[str]) -> tuple[Broker, ...]:
    draw = random.sample(probes.port_range(), 200)
    ports = probes.choose_ports(2 * len(clusters), draw)
    if len(ports) < 2 * len(clusters):
        raise RemoteError(f"no free ports on {settings.HOST} in {probes.port_range()}")
    pairs = zip(ports[::2], ports[1::2], strict=True)
    return tuple(
        Broker(alias, settings.cluster_id(uuid.uuid4().bytes), port, controller_port)
        for alias, (port, controller_port) in zip(clusters, pairs, strict=True)
    )


def _tail(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return f"(no log: {log})"

"""A configuration file, a scope as observed, and the command line with nothing behind it."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner, Result

from clientlib.protocol.clients import Client, Registration, Role, Seen
from clientlib.protocol.state import State, View
from clientlib.protocol.token import Token, encode
from clientlib.protocol.types import Epoch, Partition
from clientlib.settings import Settings, load
from failover.cli.app import app
from failover.cli.invocation import Invocation
from failover.core.snapshot import (
    ClusterSnapshot,
    Commit,
    FlowSnapshot,
    GroupInfo,
    Member,
    Snapshot,
    TopicInfo,
)

NOW = 1_800_000_000_000
CONFIG = """\
clusters:
  LEFT: {bootstrap.servers: "left:9092", sasl.password: "hunter2"}
  RIGHT: {bootstrap.servers: "right:9092"}
"""
Cli = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "failover.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def settings(config: Path) -> Settings:
    return load(config)


def _group(members: int, epoch: int, on: str, offset: int) -> GroupInfo:
    owners = tuple(
        Member(f"m{n}", f"billing-{n}", "/10.0.0.1", (Partition("orders", n),))
        for n in range(members)
    )
    token = encode(Token(epoch, on))
    return GroupInfo(
        "STABLE", owners, {Partition("orders", n): Commit(offset, token) for n in range(members)}
    )


def _client(ident: str, role: Role, digest: str) -> Client:
    return Client(
        ident,
        role,
        "default",
        group="billing" if role is Role.CONSUMER else "",
        topics=("orders",),
        version="0.1.0",
        digest=digest,
        seen=Seen(1, 0),
        host="app-1",
        pid=4711,
    )


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """LEFT is active in epoch 1; one wrapped group, one plain one, MM2's group sync is on."""
    clients = [
        _client("checkout", Role.PRODUCER, settings.digest),
        _client("billing-0", Role.CONSUMER, settings.digest),
        _client("billing-1", Role.CONSUMER, settings.digest),
    ]
    state = State("default", (Epoch(1, "LEFT"),), 0, clusters={"LEFT": "idL", "RIGHT": "idR"})
    view = View(state)
    log, empty = TopicInfo((0, 0), (1200, 1300), (1200, 1300)), TopicInfo((0, 0), (0, 0), (0, 0))
    plain = GroupInfo("EMPTY", (), {Partition("orders", 0): Commit(200)})
    left = ClusterSnapshot(
        "LEFT",
        reachable=True,
        cluster_id="idL",
        topics={"orders": log, "RIGHT.orders": empty},
        groups={"billing": _group(2, 1, "LEFT", 1200), "reports": plain},
        view=view,
        clients={c.id: Registration(c, NOW - 1500) for c in clients},
        operations=frozenset({"DESCRIBE"}),
    )
    standby = _group(2, 1, "LEFT", 0)
    right = ClusterSnapshot(
        "RIGHT",
        reachable=True,
        cluster_id="idR",
        topics={"orders": empty, "LEFT.orders": log},
        groups={"billing": GroupInfo("STABLE", standby.members)},
        view=view,
        operations=frozenset({"DESCRIBE"}),
    )
    sync = {"sync.group.offsets.enabled": "true", "offset-syncs.topic.location": "target"}
    flows = (
        FlowSnapshot("LEFT", "RIGHT", 400, {Partition("orders", 1): 12}, sync),
        FlowSnapshot("RIGHT", "LEFT", 15_000, settings=sync),
    )
    return Snapshot("default", NOW, {"LEFT": left, "RIGHT": right}, flows, view)


class Observed:
    """Stands where the observer stands, and always sees the same."""

    def __init__(self, seen: Snapshot) -> None:
        self._seen = seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def snapshot(self) -> Snapshot:
        return self._seen


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[[Snapshot], None]:
    """Let the commands see a snapshot instead of clusters."""

    def look(seen: Snapshot) -> None:
        def observer(_call: Invocation, _settings: Settings) -> Any:
            return Observed(seen)

        monkeypatch.setattr(Invocation, "observer", observer)

    return look


@pytest.fixture
def cli(config: Path) -> Cli:
    """Run the command line with the configuration; arguments are split as a shell would."""

    def run(*args: str, given: str | None = None, with_config: bool = True) -> Result:
        words = [word for arg in args for word in shlex.split(arg)]
        front = ("-c", str(config)) if with_config else ()
        return CliRunner().invoke(app, [*front, *words], input=given, env={"FAILOVER_CONFIG": ""})

    return run

"""What a request asked for and what a run came to: shared by engine, CLI, demo and tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from clientlib.protocol.types import ClusterAlias


class ExitCode(IntEnum):
    """Exit codes of the CLI (DESIGN section 8)."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3
    TIMED_OUT = 4
    INCOMPLETE = 5
    LOCKED = 6
    UNREACHABLE = 7
    DATA_LOSS = 8
    DEGRADED = 10
    INTERRUPTED = 130


class Severity(StrEnum):
    """What a finding means for a switch."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """A named diagnosis: stable ``id``, what it is about, the reason and the remedy."""

    id: str
    severity: Severity
    subject: str
    what: str
    reason: str
    remedy: str


PATIENCE_S = 10.0
"""For how long a cluster that is back may not answer yet: it elects leaders."""


@dataclass(frozen=True, slots=True)
class SwitchRequest:
    """What the operator asked. ``timeout_s`` bounds the closed phase: writes reopen after it.

    ``emergency``: without the active cluster. ``old_side_alive``: although that one answers.
    ``allow_data_loss``: loss that cannot be excluded is accepted, up to ``max_lost`` records.
    """

    scope: str
    to: ClusterAlias
    timeout_s: float = 30.0
    expect_active: ClusterAlias = ""
    skip_clients: tuple[str, ...] = ()
    tolerate_late: bool = False
    ignore: tuple[str, ...] = ()
    run: str = ""
    emergency: bool = False
    old_side_alive: bool = False
    allow_data_loss: bool = False
    max_lost: int | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a run: its name, the operator's sentence, outcome and times (Unix ms)."""

    name: str
    what: str
    outcome: str = "planned"
    started_ms: int = 0
    ended_ms: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished (or refused) run.

    ``result`` is one word: switched, unchanged, refused, rolled-back, aborted, incomplete,
    locked, interrupted, unreachable or data-loss-not-accepted.
    """

    run: str
    scope: str
    source: ClusterAlias
    target: ClusterAlias
    epoch: int
    changed: bool
    result: str
    exit_code: ExitCode
    steps: tuple[StepRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    message: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the engine tells a watching human: a step began, advanced or ended."""

    step: StepRecord
    index: int
    total: int

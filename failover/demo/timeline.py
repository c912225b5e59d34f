"""What happened, as values: moments in order, and for each switch its pauses. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from failover.checkers import (
    History,
    ReadPause,
    Verdict,
    WritePause,
    read_pauses,
    write_pauses,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened ``at`` (monotonic seconds), to ``who``."""

    at: float
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A switch that the tool performed: its command, its JSON, and when it ran.

    ``wall_offset_s``: what to add to a monotonic time to get Unix time, both in seconds.
    """

    command: str
    document: Mapping[str, Any]
    begun_at: float
    ended_at: float
    wall_offset_s: float

    @property
    def epoch(self) -> int:
        """The epoch that it began."""
        return int(self.document["epoch"])

    @property
    def target(self) -> str:
        """The cluster that it made active."""
        return str(self.document["to"])

    @property
    def unplanned(self) -> bool:
        """Whether the cluster that was active before had been lost."""
        return "--emergency" in self.command

    @property
    def source(self) -> str:
        """The cluster that was active before."""
        return str(self.document["from"])

    def at(self, name: str) -> float | None:
        """Return one of the tool's measured times (Unix ms) as monotonic seconds."""
        measured = self.document["measured"].get(name)
        return None if measured is None else measured / 1000 - self.wall_offset_s


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses of one switch, in seconds, by the application's own clock.

    ``writes`` is of all producers together and ``by_producer`` of each; ``reads`` is the longest
    of each logical partition: (group, topic, partition). ``closed_ms`` is how long the tool kept
    writes closed, ``phases_ms`` where that time went.
    """

    ran: Ran
    writes: WritePause | None
    by_producer: tuple[WritePause, ...]
    reads: Mapping[tuple[str, str, int], ReadPause]
    closed_ms: int | None
    phases_ms: Mapping[str, int]

    @property
    def read_median(self) -> float | None:
        """The median of the partitions' read pauses."""
        seconds = [pause.seconds for pause in self.reads.values()]
        return median(seconds) if seconds else None

    @property
    def read_max(self) -> float | None:
        """The longest of the partitions' read pauses."""
        return max((pause.seconds for pause in self.reads.values()), default=None)


@dataclass(frozen=True, slots=True)
class Told:
    """The whole story: what it was played with, what happened, and how it is judged."""

    producers: int
    consumers: int
    partitions: int
    rate: float
    begun_at: float
    moments: tuple[Moment, ...]
    pauses: tuple[Pauses, ...]
    verdict: Verdict

    @property
    def good(self) -> bool:
        """Whether nothing is wrong and something was tried at all."""
        verdict = self.verdict
        return verdict.ok and verdict.acked > 0 and verdict.sent == verdict.acked


def pauses_of(history: History, runs: Iterable[Ran]) -> tuple[Pauses, ...]:
    """Measure each switch in the application's history."""
    together = {pause.epoch: pause for pause in write_pauses(history)}
    single: defaultdict[int, list[WritePause]] = defaultdict(list)
    for pause in write_pauses(history, per_producer=True):
        single[pause.epoch].append(pause)
    reads: defaultdict[int, dict[tuple[str, str, int], ReadPause]] = defaultdict(dict)
    for read in read_pauses(history):
        where = (read.group, read.topic, read.partition)
        known = reads[read.epoch].get(where)
        if known is None or known.seconds < read.seconds:
            reads[read.epoch][where] = read
    return tuple(
        Pauses(
            ran=ran,
            writes=together.get(ran.epoch),
            by_producer=tuple(single[ran.epoch]),
            reads=dict(reads[ran.epoch]),
            closed_ms=ran.document["measured"].get("closed_ms"),
            phases_ms=ran.document["measured"].get("phases_ms", {}),
        )
        for ran in runs
    )


def moments_of(pauses: Pauses) -> tuple[Moment, ...]:
    """Return what happened during one switch, in order of time."""
    ran = pauses.ran
    found = [
        Moment(ran.begun_at, "you", ran.command),
        *_measured(ran, "closing_at_ms", "tool", "writes close: producers finish and hold records"),
        *_measured(ran, "copied_at_ms", "tool", f"{ran.target} has a copy of every record"),
        *_measured(ran, "committed_at_ms", "tool", f"{ran.target} is active, epoch {ran.epoch}"),
        *_measured(ran, "moved_at_ms", "tool", "every group has moved"),
    ]
    if pauses.writes is not None:
        what = f"first record written to {ran.target}, {_ms(pauses.writes.seconds)} after the last"
        found.append(Moment(pauses.writes.first_at, "producers", f"{what} one to {ran.source}"))
    firsts = sorted(read.first_at for read in pauses.reads.values())
    if firsts:
        many = f"{len(firsts)} partitions"
        found.append(Moment(firsts[0], "consumers", f"first record read at {ran.target}"))
        found.append(Moment(firsts[-1], "consumers", f"all {many} are read at {ran.target}"))
    return in_order(found)


def _measured(ran: Ran, name: str, who: str, what: str) -> Sequence[Moment]:
    at = ran.at(name)
    return () if at is None else (Moment(at, who, what),)


def in_order(moments: Iterable[Moment]) -> tuple[Moment, ...]:
    """Sort by time; of two at one instant the earlier in ``moments`` stays first."""
    return tuple(sorted(moments, key=lambda moment: moment.at))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"

"""How long a switch stopped the applications, by their own clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from statistics import median

from failover.checkers.epochs import EpochLine
from failover.checkers.events import Delivered
from failover.checkers.history import History, Log


@dataclass(frozen=True, slots=True)
class WritePause:
    """Between the last acknowledgement on the old side and the first on the new, of one switch.

    ``producer`` is None for all producers together. Negative where a late delivery report of
    the old side overlapped with the new one.
    """

    epoch: int
    old: str
    new: str
    producer: str | None
    last_at: float
    first_at: float

    @property
    def seconds(self) -> float:
        """Length of the pause."""
        return self.first_at - self.last_at


@dataclass(frozen=True, slots=True)
class ReadPause:
    """Between two deliveries of a group's logical partition when the log that it reads changed.

    ``epoch`` is the latest begun by the second delivery: a switch gives one pause on the way to
    the other cluster and one from the remote topic to the local one, unless nothing was read in
    between. A partition that had nothing to read also makes a long pause.
    """

    epoch: int
    group: str
    topic: str
    partition: int
    old: Log
    new: Log
    last_at: float
    first_at: float

    @property
    def seconds(self) -> float:
        """Length of the pause."""
        return self.first_at - self.last_at


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of pauses, in seconds; ``p95`` is the nearest rank."""

    count: int
    median: float
    p95: float
    max: float


def write_pauses(history: History, *, per_producer: bool = False) -> tuple[WritePause, ...]:
    """Measure one pause for each change of the active cluster, in order of epochs.

    An acknowledgement belongs to the latest epoch of its cluster that had begun. An epoch in which
    nothing was written gives no pause. ``per_producer``: one for each producer that wrote on both
    sides, instead of one for all.
    """
    line = EpochLine.of(history)
    spans: dict[tuple[int, str | None], tuple[float, float]] = {}
    for acked, latest in line.follow(history.acked):
        index: int | None = latest
        if line.clusters[latest] != acked.cluster:
            index = line.find(acked.cluster, range(latest, -1, -1))
        if index is not None:
            writer = (index, acked.producer if per_producer else None)
            first, _ = spans.get(writer, (acked.at, acked.at))
            spans[writer] = (first, acked.at)
    return tuple(
        WritePause(
            epoch=line.counters[index],
            old=line.clusters[index - 1],
            new=line.clusters[index],
            producer=producer,
            last_at=spans[index - 1, producer][1],
            first_at=first,
        )
        for (index, producer), (first, _) in sorted(spans.items(), key=lambda item: item[1])
        if (index - 1, producer) in spans and line.clusters[index - 1] != line.clusters[index]
    )


def read_pauses(history: History) -> tuple[ReadPause, ...]:
    """Measure a pause for each change of log in a group's logical partition, in order of time.

    Only first deliveries count, so that records that come again do not look like a change.
    """
    line = EpochLine.of(history)
    latest: dict[tuple[str, str, int], Delivered] = {}
    found: list[ReadPause] = []
    for event in history.reading.progress:
        reader = (event.group, history.topic_of(event), event.partition)
        before = latest.get(reader)
        latest[reader] = event
        if before is None or _plainly_same_log(before, event):
            continue
        old, new = history.log_of(before), history.log_of(event)
        if old != new:
            epoch = line.counters[line.latest(event.at)]
            found.append(ReadPause(epoch, *reader, old, new, before.at, event.at))
    return tuple(found)


def _plainly_same_log(before: Delivered, event: Delivered) -> bool:
    """Tell without a look at the acknowledgements, as for nearly all deliveries."""
    return before.topic == event.topic and before.cluster == event.cluster is not None


def distribution(pauses: Iterable[WritePause | ReadPause]) -> Distribution | None:
    """Summarise pauses; None when there was none."""
    seconds = sorted(pause.seconds for pause in pauses)
    if not seconds:
        return None
    rank = ceil(0.95 * len(seconds))
    return Distribution(len(seconds), median(seconds), seconds[rank - 1], seconds[-1])

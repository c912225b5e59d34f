"""The order of epochs in a history, and which of them an acknowledgement can belong to."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from failover.checkers.events import Acked
from failover.checkers.history import History


@dataclass(frozen=True, slots=True)
class EpochLine:
    """Epochs by rising counter; the methods speak of their index in this line.

    ``begins[i]`` is when anyone first saw epoch i or a later one; it never falls. The first epoch
    of a history has always begun, whenever somebody came to write it down.
    """

    counters: tuple[int, ...]
    clusters: tuple[str, ...]
    begins: tuple[float, ...]

    @classmethod
    def of(cls, history: History) -> "EpochLine":
        """Derive the line. Without any EpochSeen there is one epoch: the first writer's."""
        first = {seen.epoch: seen for seen in reversed(history.epochs)}
        if not first:
            writer = history.acked[0].cluster if history.acked else ""
            return cls((0,), (writer,), (float("-inf"),))
        counters = tuple(sorted(first))
        latest_first = accumulate((first[c].at for c in reversed(counters)), min)
        begins = tuple(reversed(tuple(latest_first)))
        clusters = tuple(first[c].cluster for c in counters)
        return cls(counters, clusters, (float("-inf"), *begins[1:]))

    def latest(self, at: float) -> int:
        """Find the latest epoch that had begun at ``at``."""
        return bisect_right(self.begins, at) - 1

    def follow(self, acked: Iterable[Acked]) -> Iterator[tuple[Acked, int]]:
        """Pair acknowledgements, in order of time, with the latest epoch begun by then."""
        latest, upcoming = 0, (*self.begins[1:], float("inf"))
        for event in acked:
            while event.at >= upcoming[latest]:
                latest += 1
            yield event, latest

    def find(self, cluster: str, candidates: Iterable[int]) -> int | None:
        """Find the first of the candidates in which ``cluster`` was the active one."""
        return next((i for i in candidates if self.clusters[i] == cluster), None)


@dataclass(slots=True)
class Floor:
    """The lowest epoch that can still be current, as a rising function of time."""

    times: list[float] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)

    def raise_to(self, index: int, at: float) -> None:
        """From ``at`` on, no epoch before ``index`` is current. Call in order of time."""
        if index > self.top:
            self.times.append(at)
            self.indexes.append(index)

    @property
    def top(self) -> int:
        """The highest floor so far."""
        return self.indexes[-1] if self.indexes else 0

    def at(self, moment: float) -> int:
        """Look up the floor just before ``moment``: of two things at one instant none was first."""
        found = bisect_left(self.times, moment)
        return self.indexes[found - 1] if found else 0

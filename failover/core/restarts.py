"""When MirrorMaker 2 was killed, and where it went on: what Connect keeps of it on the target.

Connect writes a record for each change of a task's state into its status topic. Who ends in order
writes that the task is no longer assigned; who is killed cannot. So a task that runs anew without
having been given back was killed. It goes on behind the source offset that Connect's offsets topic
holds: that of the last flush. What it had sent since, it sends again.

Both topics are compacted: what compaction has removed is not known, and nothing is made of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Partition
from failover.core.machine import Run, RunPhase

_TASK = b"status-task-MirrorSourceConnector-"
_TOGETHER_MS = 60_000
_NOBODY_KNOWS = 1 << 62
_MOST = 100
"""So many restarts are looked at, the newest ones."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What a flush has noted: ``at`` is the next source offset to be read, ``at_ms`` when."""

    at: Offset
    at_ms: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A restart of one partition's copying: from which source offset on, and when."""

    at: Offset
    at_ms: int


@dataclass(slots=True)
class Commits:
    """The offsets that Connect has committed for a cluster's partitions, oldest first.

    ``gone_ms``: until when commits were made that may have been removed from the topic. What can
    have been copied only since then, and has no commit, had none.
    """

    cluster: ClusterAlias
    gone_ms: int = -1
    by: dict[Partition, list[Commit]] = field(default_factory=dict)
    _names: dict[bytes, Partition | None] = field(default_factory=dict)

    def add(self, records: Iterable[LogRecord]) -> None:
        """Take what is left of one partition of the offsets topic.

        What is missing was written before the record that comes after it. Behind the last one
        nothing was removed: compaction keeps the newest record of a key.
        """
        expected = 0
        for record in records:
            if record.offset != expected:
                self.gone_ms = max(self.gone_ms, record.timestamp or _NOBODY_KNOWS)
            expected = record.offset + 1
            part = self._partition(record.key or b"")
            if part is None:
                continue
            offset = _json(record.value).get("offset", -1)
            if record.timestamp is not None and isinstance(offset, int):
                self.by.setdefault(part, []).append(Commit(offset + 1, record.timestamp))

    def _partition(self, key: bytes) -> Partition | None:
        if key not in self._names:
            self._names[key] = _source(key, self.cluster)
        return self._names[key]


def kills(records: Iterable[LogRecord]) -> tuple[int, ...]:
    """Return when tasks ran anew that had not been given back, from a status topic's records.

    In Unix ms, oldest first, once for each generation of the workers' group (which is counted
    anew when all of it is forgotten). The records of one task must come in their order.
    """
    states: dict[bytes, str] = {}
    found: set[tuple[Any, int]] = set()
    for record in records:
        key = record.key or b""
        if not key.startswith(_TASK) or record.timestamp is None:
            continue
        body = _json(record.value)
        state = str(body.get("state", ""))
        before = states.get(key, "")
        if state == "RUNNING" and before not in {"", "UNASSIGNED"}:
            found.add((body.get("generation"), record.timestamp))
        states[key] = state
    return tuple(_together(found))


def _together(found: Iterable[tuple[Any, int]]) -> Iterator[int]:
    """Yield a time for each kill: tasks that died together run anew in one generation."""
    last: dict[Any, int] = {}
    for generation, at_ms in sorted(found, key=lambda one: one[1]):
        if at_ms - last.get(generation, -_TOGETHER_MS) >= _TOGETHER_MS:
            yield at_ms
        last[generation] = at_ms


def since_ms(runs: Iterable[Run], epochs: Sequence[Epoch]) -> int:
    """Return since when a kill may have put repeats into the last epoch; 0 where nobody knows.

    That is since the epoch before it of the same cluster was closed: what MM2 had sent by then
    it may have sent again behind that epoch's end.
    """
    own = [at for at, epoch in enumerate(epochs[:-1]) if epoch.cluster == epochs[-1].cluster]
    if not own:
        return 0
    closed_by = epochs[own[-1] + 1]
    times = (run.times for run in runs if run.committed and run.epoch == closed_by)
    return max((at.get(RunPhase.COMMITTING.value, 0) for at in times), default=0)


def resumes(
    commits: Commits, part: Partition, kills_ms: Sequence[int], new_ms: int = 0
) -> tuple[tuple[Resume, ...], bool]:
    """Return where a partition's copying went on after each kill, oldest first; and if that is all.

    It went on where the last commit before the kill stands; without any, at the beginning. A kill
    of which that commit may be gone is left out. ``new_ms``: when nothing had been copied of the
    partition yet; 0 where nobody knows.
    """
    found: list[Resume] = []
    known = commits.by.get(part, [])
    none_gone = commits.gone_ms < new_ms
    for at_ms in kills_ms[-_MOST:]:
        before = [commit.at for commit in known if commit.at_ms <= at_ms]
        at = before[-1] if before else 0 if none_gone else None
        if at is not None:
            found.append(Resume(at, at_ms))
    return tuple(found), len(found) == len(kills_ms)


def _source(key: bytes, cluster: ClusterAlias) -> Partition | None:
    """Return the source partition that a key of the offsets topic is about, if it is of one."""
    try:
        body = json.loads(key)
    except ValueError:
        return None
    match body:
        case [str(), {"cluster": str(of), "topic": str(topic), "partition": int(number)}]:
            return Partition(topic, number) if of == cluster else None
        case _:
            return None


def _json(raw: bytes | None) -> Mapping[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

"""Records of the progress topic: what a group's members know that a dead cluster cannot tell.

Every second each member writes to every standby what it reads, and at once when the cluster that it
reads was lost (``final``). One record per member and time::

    ["progress", SCOPE, GROUP, MEMBER]

The newest record of a partition wins, by its place in the topic: not the largest position, because
an operator's rewind must hold. When a member has written a final report without partitions for an
epoch, it has said everything that it knew when that epoch began.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.records import decode_key, decode_value, encode_key, encode_value
from clientlib.protocol.recover import Memory, Print
from clientlib.protocol.types import ClusterAlias, Offset, Partition

_PRINT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """One logical partition as its reader knows it.

    ``offsets``: by origin, what the application has committed or stored, in the logs of the cluster
    that is read. ``log``: the origin that is being read, whose last records ``memory`` holds.
    ``claim`` grows each time that the member begins to read a partition: of two members that both
    report it, the one is right whose claim was seen last, and not one that was stopped meanwhile.
    """

    offsets: Mapping[ClusterAlias, Offset]
    log: ClusterAlias
    memory: Memory = field(default_factory=Memory)
    claim: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What one member says at one time.

    ``epoch`` and ``cluster``: what it read under. ``handed_over``: the counter of the unplanned
    epoch for which this is its final word, 0 for an ordinary report. A final report without parts
    says that there are no more. ``leaving``: the member has given these partitions up.
    """

    group: str
    member: str
    epoch: int
    cluster: ClusterAlias
    parts: Mapping[Partition, Progress] = field(default_factory=dict)
    handed_over: int = 0
    leaving: bool = False

    def record(self, scope: str) -> tuple[bytes, bytes]:
        """Return key and value of the record."""
        parts: dict[str, dict[str, Any]] = {}
        for (topic, number), one in sorted(self.parts.items()):
            parts.setdefault(topic, {})[str(number)] = {
                "at": dict(one.offsets),
                "log": one.log,
                "offsets": _runs([p.offset for p in one.memory.prints]),
                "prints": b64encode(b"".join(p.print for p in one.memory.prints)).decode(),
                "stamped": one.memory.stamped,
                "start": one.memory.start,
                "claim": one.claim,
            }
        body = {
            "epoch": self.epoch,
            "cluster": self.cluster,
            "parts": parts,
            "handed_over": self.handed_over,
            "leaving": self.leaving,
        }
        return encode_key("progress", scope, self.group, self.member), encode_value(body)


def _runs(offsets: list[Offset]) -> list[list[int]]:
    """Return offsets as [first, count] of consecutive ones."""
    runs: list[list[int]] = []
    for before, offset in pairwise([-2, *offsets]):
        if offset == before + 1:
            runs[-1][1] += 1
        else:
            runs.append([offset, 1])
    return runs


def decode_report(raw_key: bytes | None, raw_value: bytes) -> Report:
    """Take a record apart. Raises RecordFormatError when it is malformed."""
    key, body = decode_key(raw_key), decode_value(raw_value)
    try:
        kind, _, group, member = key
        if kind != "progress":
            raise RecordFormatError(f"record {key!r} is no progress")
        parts = {
            Partition(str(topic), int(number)): _progress(one)
            for topic, by in body["parts"].items()
            for number, one in by.items()
        }
        handed_over = int(body.get("handed_over", 0))
        return Report(
            *(str(group), str(member), int(body["epoch"]), str(body["cluster"])),
            *(parts, handed_over, bool(body.get("leaving", False))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordFormatError(f"progress record {key!r} is malformed: {error!r}") from error


def _progress(body: Mapping[str, Any]) -> Progress:
    raw = b64decode(body["prints"], validate=True)
    offsets = [first + n for first, count in body["offsets"] for n in range(count)]
    prints = [raw[at : at + _PRINT_BYTES] for at in range(0, len(raw), _PRINT_BYTES)]
    start = body.get("start")
    begun = None if start is None else int(start)
    memory = Memory(tuple(map(Print, offsets, prints)), bool(body["stamped"]), begun)
    at_ = {str(o): int(at) for o, at in body["at"].items()}
    return Progress(at_, str(body["log"]), memory, int(body.get("claim", 0)))


@dataclass(frozen=True, slots=True)
class Known:
    """The newest that is known of a partition of a group."""

    progress: Progress
    member: str
    epoch: int
    cluster: ClusterAlias
    handed_over: int
    left: bool = False


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """What all members of a group have said.

    ``handed_over``: by member, the newest epoch for which it has said its final word. ``claims``:
    by partition and member, the newest claim.
    """

    parts: Mapping[Partition, Known] = field(default_factory=dict)
    handed_over: Mapping[str, int] = field(default_factory=dict)
    claims: Mapping[tuple[Partition, str], int] = field(default_factory=dict)


def fold_progress(known: GroupProgress, reports: Iterable[Report]) -> GroupProgress:
    """Return what is known after more reports of one group, in the topic's order."""
    parts, over, claims = dict(known.parts), dict(known.handed_over), dict(known.claims)
    for report in reports:
        for part, progress in report.parts.items():
            newest, claim = parts.get(part), claims.get((part, report.member), -1)
            other = newest is not None and newest.member != report.member and not newest.left
            if newest is not None and other and (report.leaving or progress.claim <= claim):
                # another member has begun to read it since, and knows what it has read itself
                kept = _kept(progress, (report.epoch, report.cluster), newest)
                parts[part] = replace(newest, progress=kept)
                continue
            claims[part, report.member] = max(claim, progress.claim)
            now = Known(
                progress,
                report.member,
                report.epoch,
                report.cluster,
                report.handed_over,
                report.leaving,
            )
            if newest is not None:
                kept = _kept(newest.progress, (newest.epoch, newest.cluster), now)
                now = replace(now, progress=kept)
            parts[part] = now
        if not report.parts:  # its last word comes after those on each of its partitions
            over[report.member] = max(over.get(report.member, 0), report.handed_over)
    return GroupProgress(parts, over, claims)


def _kept(other: Progress, under: tuple[int, ClusterAlias], known: Known) -> Progress:
    """Give one who remembers nothing what another remembers of the records before its position.

    It has read nothing yet, and the other, who has read up to there, may have reported later. Or it
    begins where the other has committed last, which has read on since: a record is what it is.
    """
    mine = known.progress
    alike = under == (known.epoch, known.cluster) and other.log == mine.log
    if mine.memory.prints or not alike:
        return mine
    if other.offsets == mine.offsets:
        return replace(mine, memory=other.memory)
    at = mine.offsets.get(mine.log, 0)
    if other.offsets.get(mine.log, 0) < at:
        return mine
    before = tuple(one for one in other.memory.prints if one.offset < at)
    return replace(mine, memory=Memory(before, other.memory.stamped))

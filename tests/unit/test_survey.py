"""What a survey finds out by reading, over clusters in memory, and who is refused because of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pytest

from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.mm2_records import OffsetSync
from clientlib.protocol.state import State, View
from clientlib.protocol.token import Token, encode
from clientlib.protocol.types import Epoch, Offset, Partition
from failover.core.result import ExitCode, Finding, SwitchRequest
from failover.core.rules.case import case
from failover.core.rules.groups import segment_missing
from failover.core.snapshot import Commit, GroupInfo, Oldest, Snapshot
from failover.engine import Orchestrator
from failover.io.ports import Ports, Records, Window
from failover.survey import Survey
from tests.unit.switch_world import (
    LEFT,
    RIGHT,
    SCOPE,
    SETTINGS,
    Admin,
    Clock,
    Reader,
    Store,
    World,
)

GROUP, TOPIC = "g", "T1"
HERE, COPY = Partition(TOPIC, 0), Partition("LEFT.T1", 0)


class Trimmed(World):
    """A world whose logs can begin later, and whose orchestrator surveys and judges segments."""

    def __init__(self) -> None:
        super().__init__({TOPIC: 1})
        self.starts: dict[tuple[str, Partition], Offset] = {}
        self.reader: type[Reader] = TrimmedReader

    def trim(self, alias: str, part: Partition, start: Offset) -> None:
        self.starts[alias, part] = start

    def commit(self, offset: Offset, topic: str = TOPIC, *, epoch: int = 1) -> None:
        by = self.clusters[LEFT].commits.setdefault(GROUP, {})
        by[Partition(topic, 0)] = Commit(offset, encode(Token(epoch, LEFT)))

    def observe(self, without: frozenset[str] = frozenset()) -> Snapshot:
        seen = super().observe(without)
        clusters = {}
        for alias, cluster in seen.clusters.items():
            topics = {
                name: replace(
                    info,
                    starts=tuple(
                        self.starts.get((alias, Partition(name, n)), 0)
                        for n in range(info.partitions)
                    ),
                )
                for name, info in cluster.topics.items()
            }
            groups = {
                name: GroupInfo("STABLE", (), by)
                for name, by in self.clusters[alias].commits.items()
            }
            clusters[alias] = replace(cluster, topics=topics, groups=groups)
        return replace(seen, clusters=clusters)

    @property
    def ports(self) -> Ports:
        return Ports(Store(self), TrimmedAdmin(self), self.reader(self), Clock(self))

    def orchestrator(self) -> Orchestrator:
        return Orchestrator(
            SETTINGS,
            SCOPE,
            self.ports,
            observe=self.observe,
            survey=Survey,
            preflight=_segments,
            new_id=lambda now_ms: f"run-{now_ms}",
        )

    def oldest(self) -> Mapping[Partition, Oldest]:
        survey = Survey(self.orchestrator().naming, self.ports)
        return survey(self.observe(), SwitchRequest(SCOPE, RIGHT)).oldest


class TrimmedAdmin(Admin):
    """Knows what trimming has left."""

    def starts(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
        world = self._world
        assert isinstance(world, Trimmed)
        return {part: world.starts.get((alias, part), 0) for part in partitions}


class TrimmedReader(Reader):
    """Reads what trimming has left."""

    def read(
        self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
    ) -> Mapping[Partition, Records]:
        world = self._world
        assert isinstance(world, Trimmed)
        found = super().read(alias, windows, committed=committed)
        return {
            part: Records(
                tuple(
                    r
                    for r in world.clusters[alias].logs[part.topic][part.number]
                    if max(windows[part].start, world.starts.get((alias, part), 0))
                    <= r.offset
                    < windows[part].end
                )[: windows[part].limit]
            )
            for part in found
        }


def _segments(snapshot: Snapshot, request: SwitchRequest) -> tuple[Finding, ...]:
    return tuple(segment_missing(case(snapshot, SETTINGS, request)))


def written(world: World, alias: str, topic: str, texts: Iterable[str]) -> None:
    for text in texts:
        world.now_ms += 1
        world.write(alias, topic, 0, text)


def numbered(count: int) -> Iterator[str]:
    return (f"a{n}" for n in range(count))


@pytest.fixture
def world() -> Trimmed:
    """LEFT holds 100 records, RIGHT a copy of them; the group has read 40."""
    world = Trimmed()
    written(world, LEFT, TOPIC, numbered(100))
    world.replicate()
    world.commit(40)
    return world


def test_a_copy_that_begins_with_its_origin_lacks_nothing(world: Trimmed) -> None:
    assert world.oldest() == {HERE: Oldest(0)}
    assert world.orchestrator().plan(world.request(RIGHT)).findings == ()


@pytest.mark.parametrize(("start", "missing"), [(40, 0), (41, 1), (70, 30)])
def test_a_laggard_is_refused_what_retention_has_deleted_from_the_copy(
    world: Trimmed, start: int, missing: int
) -> None:
    world.trim(RIGHT, COPY, start)
    assert world.oldest() == {HERE: Oldest(start)}
    findings = world.orchestrator().plan(world.request(RIGHT)).findings
    assert [f.id for f in findings] == (["segment-missing"] if missing else [])
    for finding in findings:
        assert finding.subject == "group g"
        assert f"has not read {missing} records" in finding.what
        assert f"T1[0] 40..{start - 1}" in finding.what


def test_a_switch_is_refused_and_nothing_changes_unless_the_finding_is_ignored(
    world: Trimmed,
) -> None:
    world.trim(RIGHT, COPY, 60)
    refused = world.orchestrator().switch(world.request(RIGHT))
    assert (refused.exit_code, refused.changed) == (ExitCode.REFUSED, False)
    assert "segment-missing: group g has not read 20 records" in refused.message
    assert world.active_sides() == [LEFT]
    waved = world.orchestrator().switch(world.request(RIGHT, ignore=("segment-missing",)))
    assert waved.result == "switched", waved


def test_an_emptied_copy_lacks_everything_below_its_end(world: Trimmed) -> None:
    world.trim(RIGHT, COPY, 100)
    assert world.oldest() == {HERE: Oldest(100, exact=False)}
    (finding,) = world.orchestrator().plan(world.request(RIGHT)).findings
    assert "about 60 records" in finding.what


def test_what_retention_has_passed_on_both_sides_refuses_nobody(world: Trimmed) -> None:
    world.trim(LEFT, HERE, 70)
    world.trim(RIGHT, COPY, 70)
    assert world.orchestrator().plan(world.request(RIGHT)).findings == ()


def test_a_copy_that_is_not_begun_yet_refuses_nobody(world: Trimmed) -> None:
    world.clusters[RIGHT].logs["LEFT.T1"] = [[]]
    assert world.oldest() == {}


def begun_late(world: Trimmed, at: int) -> None:
    """The mirror began when the origin held records already, and left them out."""
    kept = world.clusters[LEFT].logs[TOPIC][0][at:]
    world.clusters[RIGHT].logs["LEFT.T1"] = [
        [replace(record, offset=n) for n, record in enumerate(kept)]
    ]


def test_a_copy_that_was_begun_late_lacks_what_was_written_before(world: Trimmed) -> None:
    begun_late(world, 50)
    assert world.oldest() == {HERE: Oldest(50)}
    (finding,) = world.orchestrator().plan(world.request(RIGHT)).findings
    assert "T1[0] 40..49" in finding.what


def test_offset_syncs_say_where_a_long_copy_was_begun() -> None:
    world = Trimmed()
    written(world, LEFT, TOPIC, numbered(3_000))
    begun_late(world, 2_000)
    world.commit(1_990)
    sync = OffsetSync(TOPIC, 0, 2_000, 0)
    world.clusters[LEFT].logs["mm2-offset-syncs.RIGHT.internal"] = [[]]
    key, value = sync.encode()
    log = world.clusters[LEFT].logs["mm2-offset-syncs.RIGHT.internal"][0]
    first = world.clusters[LEFT].logs[TOPIC][0][0]
    log.append(replace(first, offset=0, key=key, value=value))
    assert world.oldest() == {HERE: Oldest(2_000)}


def test_logs_without_a_record_in_common_are_said_to_be_unknown(world: Trimmed) -> None:
    begun_late(world, 0)
    log = world.clusters[RIGHT].logs["LEFT.T1"][0]
    log[:] = [replace(record, value=b"other") for record in log]
    (found,) = world.oldest().values()
    assert found.offset is None
    (finding,) = world.orchestrator().plan(world.request(RIGHT)).findings
    assert finding.id == "segment-unsure"


def test_a_cluster_that_cannot_be_read_is_said_to_be_unknown(world: Trimmed) -> None:
    class Broken(Reader):
        def read(self, *_: object, **__: object) -> Mapping[Partition, Records]:
            raise TimedOutError("too slow")

    world.reader = Broken
    assert world.oldest() == {HERE: Oldest(None, why="too slow")}


def test_a_new_group_needs_the_copies_of_older_epochs_at_failback(world: Trimmed) -> None:
    """LEFT was active, then RIGHT for 10 records; LEFT is again. RIGHT's own log has lost 4."""
    epochs = (Epoch(1, LEFT), Epoch(2, RIGHT), Epoch(3, LEFT))
    state = State(SCOPE, epochs, 0, clusters={LEFT: "l", RIGHT: "r"})
    world.clusters[RIGHT].logs[TOPIC] = [[]]
    written(world, RIGHT, TOPIC, (f"b{n}" for n in range(10)))
    world.replicate()
    rows = {
        1: ClosedEpoch(epochs[0], {LEFT: {0: 100}, RIGHT: {0: 100}}),
        2: ClosedEpoch(epochs[1], {LEFT: {0: 10}, RIGHT: {0: 10}}),
    }
    world.merged = lambda: View(state, {TOPIC: rows})  # type: ignore[method-assign]
    world.trim(RIGHT, HERE, 4)
    world.commit(100, epoch=3)
    world.commit(1, "RIGHT.T1", epoch=3)
    seen = Survey(world.orchestrator().naming, world.ports)(
        world.observe(), SwitchRequest(SCOPE, RIGHT)
    )
    (finding,) = _segments(seen, SwitchRequest(SCOPE, RIGHT))
    assert "has not read 3 records" in finding.what
    assert "RIGHT.T1[0] 1..3" in finding.what

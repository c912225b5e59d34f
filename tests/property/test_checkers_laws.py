"""Laws of the checkers: a correct history is always ok, any single corruption is always caught."""

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from failover.checkers import (
    Acked,
    Committed,
    ConsumerCrashed,
    Delivered,
    EpochSeen,
    Event,
    History,
    Sent,
    Verdict,
    decode,
    encode,
    judge,
    write_pauses,
)

CLUSTERS = ("LEFT", "RIGHT")
GROUPS = ("g", "h")
PRODUCERS = ("p", "q")


@dataclass(frozen=True)
class Shape:
    """What a run looks like: in each epoch, which (producer, partition, key) writes next."""

    epochs: list[list[tuple[str, int, int]]]
    lag: int  # how many records of each epoch are read only after the next switch, from the copy
    delivered_unknown: bool
    tells_cluster: bool


SHAPES = st.builds(
    Shape,
    epochs=st.lists(
        st.lists(
            st.tuples(st.sampled_from(PRODUCERS), st.integers(0, 2), st.integers(0, 1)),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=5,
    ),
    lag=st.integers(0, 4),
    delivered_unknown=st.booleans(),
    tells_cluster=st.booleans(),
)


def run(shape: Shape) -> list[Event]:
    """A correct history with strictly rising times: LEFT and RIGHT in turn, gated reading."""
    world = _World(shape)
    for counter, writes in enumerate(shape.epochs, start=1):
        world.epoch(counter, writes)
    world.read_all()
    return world.events


class _World:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.events: list[Event] = []
        self.ends: dict[tuple[str, int], int] = {}
        self.seqs = dict.fromkeys(PRODUCERS, 0)
        self.unread: list[tuple[Sent, str, int, int]] = []
        self.active = ""

    def now(self) -> float:
        return float(len(self.events))

    def epoch(self, counter: int, writes: list[tuple[str, int, int]]) -> None:
        self.active = CLUSTERS[counter % 2]
        for client in ("tool", *PRODUCERS):
            self.events.append(EpochSeen(client, counter, self.active, self.now()))
        for producer, partition, key in writes:
            self.write(producer, partition, f"{partition}-{key}")
        while len(self.unread) > self.shape.lag:
            self.read()

    def write(self, producer: str, partition: int, key: str) -> None:
        seq = self.seqs[producer]
        self.seqs[producer] += 1
        sent = Sent(producer, seq, "T", partition, key, self.now())
        self.events.append(sent)
        offset = self.ends.get((self.active, partition), 0)
        answered = seq % 4 != 3
        if answered or self.shape.delivered_unknown:
            self.unread.append((sent, self.active, partition, offset))
            self.ends[self.active, partition] = offset + 1
        if answered:
            self.events.append(
                Acked(producer, seq, self.active, "T", partition, offset, self.now())
            )

    def read(self) -> None:
        sent, origin, partition, offset = self.unread.pop(0)
        local = origin == self.active
        topic, place = ("T", offset) if local else (f"{origin}.T", offset + 7)
        cluster = self.active if self.shape.tells_cluster else None
        for group in GROUPS:
            consumer = f"{group}{len(self.events) % 3}"
            record = (sent.producer, sent.seq, topic, cluster, partition, place, sent.key)
            self.events.append(Delivered(consumer, group, *record, self.now()))
            commit = (cluster, topic, partition, place + 1, self.now())
            self.events.append(Committed(consumer, group, *commit))

    def read_all(self) -> None:
        while self.unread:
            self.read()


def verdict_of(events: list[Event], *, strict: bool = True) -> Verdict:
    return judge(History.of(events), groups=GROUPS, strict=strict)


def places(events: list[Event], kind: type[Event]) -> list[int]:
    return [i for i, event in enumerate(events) if isinstance(event, kind)]


@given(SHAPES, st.booleans())
def test_a_correct_history_is_ok(shape: Shape, strict: bool) -> None:
    verdict = verdict_of(run(shape), strict=strict)
    assert verdict.anomalies == ()
    assert verdict.ok


@given(SHAPES)
def test_the_order_in_which_files_are_read_does_not_matter(shape: Shape) -> None:
    events = run(shape)
    assert History.of(reversed(events)) == History.of(decode(encode(event)) for event in events)


@given(SHAPES, st.data())
def test_a_dropped_delivery_is_lost(shape: Shape, data: st.DataObject) -> None:
    events = run(shape)
    answered = {(e.producer, e.seq) for e in events if isinstance(e, Acked)}
    candidates = [
        i for i in places(events, Delivered) if (events[i].producer, events[i].seq) in answered
    ]
    assume(candidates)
    del events[data.draw(st.sampled_from(candidates))]
    verdict = verdict_of(events)
    assert (verdict.ok, verdict.lost) == (False, 1)


@given(SHAPES, st.data(), st.booleans())
def test_a_delivery_repeated_though_committed_is_caught(
    shape: Shape, data: st.DataObject, strict: bool
) -> None:
    events = run(shape)
    candidates = places(events, Delivered)
    assume(candidates)
    again = events[data.draw(st.sampled_from(candidates))]
    end = len(events)
    events.append(ConsumerCrashed(again.consumer, again.group, float(end)))
    events.append(again._replace(at=float(end + 1)))
    verdict = verdict_of(events, strict=strict)
    assert (verdict.ok, verdict.repeated, verdict.repeats_allowed) == (False, 1, 0)


@given(SHAPES, st.data())
def test_a_delivery_repeated_without_its_commit_is_allowed_unless_strict(
    shape: Shape, data: st.DataObject
) -> None:
    events = run(shape)
    candidates = places(events, Delivered)
    assume(candidates)
    place = data.draw(st.sampled_from(candidates))
    again = events[place]
    events = [e for e in events if not isinstance(e, Committed) or e.group != again.group]
    end = events[-1].at + 1
    events.append(ConsumerCrashed(again.consumer, again.group, end))
    events.append(again._replace(at=end + 1))
    assert verdict_of(events, strict=False).ok
    assert verdict_of(events, strict=True).repeated == 1


@given(SHAPES, st.data())
def test_two_swapped_records_of_one_key_are_caught(shape: Shape, data: st.DataObject) -> None:
    events = run(shape)
    pairs = [
        (i, j)
        for i in places(events, Delivered)
        for j in places(events, Delivered)
        if i < j
        and (events[i].group, events[i].producer, events[i].key)
        == (events[j].group, events[j].producer, events[j].key)
    ]
    assume(pairs)
    i, j = data.draw(st.sampled_from(pairs))
    events[i], events[j] = events[j]._replace(at=events[i].at), events[i]._replace(at=events[j].at)
    verdict = verdict_of(events)
    assert not verdict.ok
    assert verdict.reordered >= 1
    assert (verdict.lost, verdict.repeated) == (0, 0)


@given(SHAPES, st.data())
def test_an_acknowledgement_on_the_wrong_side_is_caught(shape: Shape, data: st.DataObject) -> None:
    events = run(shape)
    candidates = places(events, Acked)
    assume(candidates)
    place = data.draw(st.sampled_from(candidates))
    other = CLUSTERS[1 - CLUSTERS.index(events[place].cluster)]
    events[place] = events[place]._replace(cluster=other)
    verdict = verdict_of(events)
    assert verdict.two_active_writers >= 1
    assert not verdict.ok


@given(SHAPES)
def test_write_pauses_of_a_correct_history_are_positive_and_one_per_written_switch(
    shape: Shape,
) -> None:
    events = run(shape)
    pauses = write_pauses(History.of(events))
    written = {
        max(e.epoch for e in events if isinstance(e, EpochSeen) and e.at <= ack.at)
        for ack in events
        if isinstance(ack, Acked)
    }
    assert {pause.epoch for pause in pauses} == {n for n in written if n - 1 in written}
    assert all(pause.seconds > 0 for pause in pauses)

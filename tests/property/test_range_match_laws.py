"""Laws of proofs of completeness, on copies as MM2 makes them when it is killed again and again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from clientlib.protocol.mm2_records import OffsetSync
from clientlib.protocol.range_match import RangeMatch
from clientlib.protocol.skips import Squeezed, join, past, within
from clientlib.protocol.syncs import SyncIndex
from clientlib.protocol.windows import Span
from tests.unit.alignment import Log, World

LAWS = settings(max_examples=400, deadline=None)


@st.composite
def logs(draw: st.DrawFn) -> tuple[Log, Log, bool]:
    """An origin and its copy: restarts anywhere, gaps on both sides, perhaps not all copied."""
    count = draw(st.integers(1, 60))
    source, offset = [], 0
    for index in range(count):
        offset += draw(st.sampled_from((0, 0, 0, 0, 1, 3)))
        source.append((offset, index))
        offset += 1
    sent, at = [], 0
    for _ in range(draw(st.integers(0, 4))):
        stop = draw(st.integers(at, count))
        sent += range(at, stop)
        reached = max(sent, default=-1) + 1
        at = draw(st.integers(0, min(stop, reached)))
    whole = draw(st.booleans())
    sent += range(at, count if whole else draw(st.integers(at, count)))
    target, offset = [], 0
    for index in sent:
        offset += draw(st.sampled_from((0, 0, 0, 0, 1, 2)))
        target.append((offset, index))
        offset += 1
    return source, target, whole


def end(log: Log) -> int:
    return log[-1][0] + 1 if log else 0


def syncs(source: Log, target: Log) -> SyncIndex:
    """Offset syncs as MM2 emits them with a small ``offset.lag.max``."""
    upstream = {index: offset for offset, index in source}
    index, previous, since = SyncIndex(), None, 0
    for offset, number in target:
        since += 1
        if previous is None or upstream[number] != previous + 1 or since >= 9:
            index.add(OffsetSync("t", 0, upstream[number], offset))
            since = 0
        previous = upstream[number]
    return index


@LAWS
@given(logs(), st.integers(1, 80), st.booleans(), st.integers(0, 60))
def test_the_copy_without_its_skips_is_the_origin(
    made: tuple[Log, Log, bool], period: int, synced: bool, chunk: int
) -> None:
    source, target, _ = made
    world = World(source, target, lambda index: index % period, chunk=chunk)
    pairs = syncs(source, target).pairs() if synced else ()
    found = world.match(RangeMatch(Span(0, end(source)), Span(0, end(target)), pairs))
    kept = [i % period for o, i in target if o < found.there and not within(found.skip, o)]
    passed = [i % period for o, i in source if o < found.at]
    assert kept == passed
    if {index for _, index in target} == {index for _, index in source}:
        assert found.complete
    if period >= len(source):
        assert found.complete is (bool(target) and source[-1][1] in {i for _, i in target})


@LAWS
@given(logs(), st.integers(0, 60), st.integers(1, 80))
def test_a_later_epoch_skips_what_belongs_to_the_one_before(
    made: tuple[Log, Log, bool], cut: int, period: int
) -> None:
    """Two proofs in a row, the second from where the first has ended: nothing twice, nothing lost.

    The records before and after the cut differ, as records of different times do.
    """
    source, target, _ = made
    cut = min(cut, len(source) - 1)
    world = World(source, target, lambda i: i % period + (1000 if i >= cut else 0))
    first = world.match(RangeMatch(Span(0, source[cut][0]), Span(0, end(target))))
    if not first.complete:
        return
    spans = Span(first.at, end(source)), Span(first.there, end(target))
    rest = world.match(RangeMatch(*spans, back=0))
    skip = join(first.skip, rest.skip)
    kept = [world.content(i) for o, i in target if o < rest.there and not within(skip, o)]
    assert kept == [world.content(i) for o, i in source if o < rest.at]
    if {index for _, index in target} == {index for _, index in source}:
        assert rest.complete


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=5).map(
    lambda made: join((first, first + length) for first, length in made if length)
)


@LAWS
@given(spans, st.integers(0, 80))
def test_squeezed_coordinates_lead_there_and_back(
    skip: tuple[tuple[int, int], ...], at: int
) -> None:
    log = Squeezed(skip)
    assert log.inward(log.outward(at)) == at
    assert past(skip, log.outward(log.inward(at))) == past(skip, at)
    assert log.inward(at) == at - sum(within(skip, offset) for offset in range(at))

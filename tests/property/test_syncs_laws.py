"""Laws of MM2's records and syncs: round trips, garbage, and bounds that hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.mm2_records import Checkpoint, Heartbeat, OffsetSync
from clientlib.protocol.syncs import OffsetSyncStore, SyncIndex

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
RECORDS = st.one_of(
    st.builds(Checkpoint, TEXT, TEXT, INT32, INT64, INT64, TEXT),
    st.builds(Heartbeat, TEXT, TEXT, INT64),
    st.builds(OffsetSync, TEXT, INT32, INT64, INT64),
)
STEPS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5)), min_size=1, max_size=120)


@given(RECORDS, st.binary(max_size=8))
def test_records_survive_the_round_trip(
    record: Checkpoint | Heartbeat | OffsetSync, trailing: bytes
) -> None:
    key, value = record.encode()
    assert type(record).decode(key, value) == record
    assert type(record).decode(key + trailing, value + trailing) == record


@given(
    st.sampled_from([Checkpoint, Heartbeat, OffsetSync]),
    st.none() | st.binary(max_size=60),
    st.none() | st.binary(max_size=60),
)
def test_garbage_gives_a_record_or_a_format_error(
    kind: type[Checkpoint | Heartbeat | OffsetSync], key: bytes | None, value: bytes | None
) -> None:
    try:
        found = kind.decode(key, value)
    except RecordFormatError:
        return
    assert (found is None) is (value is None)


def emitted(steps: list[tuple[int, int]]) -> list[OffsetSync]:
    """Make syncs of a copy with extra gaps downstream."""
    syncs, upstream, downstream = [], 0, 0
    for step, gap in steps:
        upstream, downstream = upstream + step, downstream + step + gap
        syncs.append(OffsetSync("t", 0, upstream, downstream))
    return syncs


@settings(deadline=None)
@given(STEPS, st.integers(0, 40_000))
def test_mm2_never_translates_past_what_the_index_knows(
    steps: list[tuple[int, int]], position: int
) -> None:
    """Where the copy has more offsets than the source, once it cannot be a repeat any more."""
    syncs = emitted([*steps, (100_000, 0)])
    store = OffsetSyncStore()
    store.started()
    index = SyncIndex()
    for sync in syncs:
        store.add(sync)
        index.add(sync)
    found = store.translate("t", 0, position)
    bracket = index.bracket(position)
    assert found is not None
    if found >= 0:
        floor = -1 if bracket.lower is None else bracket.lower.target
        at_sync = bracket.upper is not None and bracket.upper.source == position
        ceiling = bracket.upper.target if at_sync and bracket.upper else floor + 1
        assert found <= ceiling
    else:
        assert position < store.kept("t", 0)[0].upstream_offset


@settings(deadline=None)
@given(STEPS, st.integers(0, 40_000))
def test_a_bracket_and_its_reverse_agree(steps: list[tuple[int, int]], position: int) -> None:
    index = SyncIndex(emitted(steps))
    bracket = index.bracket(position)
    if bracket.lower is not None:
        assert bracket.lower.source < position
        back = index.bracket_reverse(bracket.lower.target + 1)
        assert back.lower == bracket.lower.swapped()
    if bracket.upper is not None:
        assert bracket.upper.source >= position
        assert index.bracket_reverse(bracket.upper.target).upper == bracket.upper.swapped()


@settings(deadline=None, max_examples=50)
@given(STEPS, st.integers(0, 40_000), st.integers(0, 40_000))
def test_translation_of_one_store_is_monotonic(
    steps: list[tuple[int, int]], one: int, other: int
) -> None:
    store = OffsetSyncStore()
    store.started()
    for sync in emitted(steps):
        store.add(sync)
    first, second = (store.translate("t", 0, offset) for offset in sorted((one, other)))
    assert first is not None
    assert second is not None
    assert first <= second


def test_a_record_of_another_type_is_not_taken_for_a_checkpoint() -> None:
    key, value = OffsetSync("t", 0, 1, 1).encode()
    with pytest.raises(RecordFormatError):
        Checkpoint.decode(key, value)

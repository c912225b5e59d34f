"""The index of offset syncs, and the model of MirrorMaker 2's own store."""

from itertools import pairwise

import pytest

from clientlib.protocol.mm2_records import OffsetSync
from clientlib.protocol.syncs import Bracket, OffsetSyncStore, Pair, Rewind, SyncIndex


def sync(upstream: int, downstream: int) -> OffsetSync:
    return OffsetSync("t", 0, upstream, downstream)


def index(*pairs: tuple[int, int]) -> SyncIndex:
    return SyncIndex(sync(up, down) for up, down in pairs)


PLAIN = index((0, 10), (101, 111), (202, 215))
REPEATED = index((0, 0), (909, 909), (500, 1000), (1300, 1800))
SHORT = index((0, 0), (18, 18), (19, 21))  # 0 to 20, then 19 again
UNFINISHED = index((0, 0), (909, 909), (500, 1000), (601, 1101))


@pytest.mark.parametrize(
    ("syncs", "position", "expected"),
    [
        (index(), 5, Bracket()),
        (PLAIN, 0, Bracket(None, Pair(0, 10))),
        (PLAIN, 1, Bracket(Pair(0, 10), Pair(101, 111))),
        (PLAIN, 101, Bracket(Pair(0, 10), Pair(101, 111))),
        (PLAIN, 102, Bracket(Pair(101, 111), Pair(202, 215))),
        # the copy has grown by 104 where the source has by 101: markers, or a repeat of three
        (PLAIN, 203, Bracket(Pair(101, 111), None)),
        (
            index((0, 10), (101, 111), (202, 215), (303, 316)),
            303,
            Bracket(Pair(202, 215), Pair(303, 316)),
        ),
        (SHORT, 20, Bracket(Pair(18, 18), None)),
        (REPEATED, 400, Bracket(Pair(0, 0), Pair(909, 909))),
        (REPEATED, 500, Bracket(None, Pair(500, 1000))),
        (REPEATED, 700, Bracket(Pair(500, 1000), Pair(1300, 1800))),
        (UNFINISHED, 700, Bracket(Pair(0, 0), Pair(909, 909))),
        (UNFINISHED, 1000, Bracket(Pair(909, 909), None)),
    ],
)
def test_bracket(syncs: SyncIndex, position: int, expected: Bracket) -> None:
    assert syncs.bracket(position) == expected


@pytest.mark.parametrize(
    ("syncs", "position", "expected"),
    [
        (index(), 5, Bracket()),
        (PLAIN, 10, Bracket(None, Pair(10, 0))),
        (PLAIN, 112, Bracket(Pair(111, 101), Pair(215, 202))),
        (PLAIN, 900, Bracket(Pair(215, 202), None)),
        (REPEATED, 950, Bracket(Pair(909, 909), None, 1000)),
        (REPEATED, 1100, Bracket(None, Pair(1800, 1300))),
    ],
)
def test_reverse_bracket(syncs: SyncIndex, position: int, expected: Bracket) -> None:
    assert syncs.bracket_reverse(position) == expected


def test_rewinds_name_place_and_reach() -> None:
    assert [rewind.certain for rewind in PLAIN.rewinds()] == [False]
    assert SHORT.rewinds() == (Rewind(downstream=21, upstream=19, seen=18, reach=20),)
    assert REPEATED.rewinds() == (Rewind(downstream=1000, upstream=500, seen=909, reach=999),)


def test_a_producers_retry_changes_nothing() -> None:
    syncs = index((0, 0), (101, 101), (101, 101))
    assert len(syncs) == 2
    assert syncs.rewinds() == ()


def test_a_recreated_target_forgets_what_was_known() -> None:
    syncs = index((0, 0), (101, 101), (202, 0))
    assert syncs.pairs() == (Pair(202, 0),)


def started(*, read_to_end: bool = False) -> OffsetSyncStore:
    store = OffsetSyncStore(read_to_end=read_to_end)
    store.started()
    return store


def upstreams(store: OffsetSyncStore) -> list[int]:
    return [kept.upstream_offset for kept in store.kept("t", 0)]


def test_offset_translation() -> None:
    store = started()
    store.add(sync(100, 200))
    assert store.translate("t", 0, 150) == 201
    store.add(sync(150, 251))
    assert store.translate("t", 0, 150) == 251
    assert store.translate("t", 0, 5) == -1
    store.add(sync(200, 10))
    assert store.translate("t", 0, 200) == 10
    store.add(sync(20, 20))
    assert store.translate("t", 0, 20) == 20


def test_no_translation_before_the_store_is_started() -> None:
    store = OffsetSyncStore()
    store.add(sync(100, 200))
    assert [store.translate("t", 0, offset) for offset in (0, 100, 200)] == [None] * 3
    store.started()
    assert [store.translate("t", 0, offset) for offset in (0, 100, 200)] == [-1, 200, 201]


def test_no_translation_without_a_sync() -> None:
    assert started().translate("t", 0, 100) is None
    assert started().kept("t", 0) == ()


KEPT_AFTER_READING_TO_END = [1000, 4840, 6760, 8680, 9160, 9640, 9880, 9940, 9970, 9990, 10000]
KEPT_WITHOUT = [0, 3840, 7680, 8640, 9120, 9600, 9840, 9900, 9960, 9990, 10000]


def test_past_offsets_after_reading_to_end() -> None:
    store = OffsetSyncStore(read_to_end=True)
    for offset in range(0, 1001, 10):
        store.add(sync(offset, offset))
    assert upstreams(store) == [1000]
    store.started()
    for offset in range(1000, 10001, 10):
        store.add(sync(offset, offset))
    assert upstreams(store) == KEPT_AFTER_READING_TO_END
    assert store.translate("t", 0, 999) == -1
    for before, kept in pairwise(KEPT_AFTER_READING_TO_END):
        found = [store.translate("t", 0, kept + step) for step in (-1, 0, 1, 2)]
        assert found == [before + 1, kept, kept + 1, kept + 1]
    store.add(sync(1500, 11000))
    found = [store.translate("t", 0, offset) for offset in (1499, 1500, 2000)]
    assert found == [-1, 11000, 11001]


def test_past_offsets_without_reading_to_end() -> None:
    store = OffsetSyncStore()
    for offset in range(0, 1001, 10):
        store.add(sync(offset, offset))
    store.started()
    assert upstreams(store) == [0, 480, 720, 840, 900, 960, 990, 1000]
    for offset in range(1000, 10001, 10):
        store.add(sync(offset, offset))
    assert upstreams(store) == KEPT_WITHOUT


def test_the_syncs_of_a_dense_topic_that_are_kept() -> None:
    """Distances behind the head at 999,799, default cadence of one sync in 101 records."""
    store = started()
    head = 999_799
    for offset in range(0, head + 1, 101):
        store.add(sync(offset, offset))
    distances = [head - offset for offset in reversed(upstreams(store))]
    assert distances == [
        *(0, 101, 303, 707, 1111, 2727, 4343, 10807, 17271, 43127),
        *(68983, 172407, 379255, 586103, 999799),
    ]


@pytest.mark.parametrize(("spacing", "drops_max"), [((100, 200), 2), ((1, 1), 1), ((7, 7), 1)])
def test_one_update_drops_few_syncs(spacing: tuple[int, int], drops_max: int) -> None:
    store = started()
    offset = 0
    kept: set[int] = set()
    for number in range(2_000):
        offset += spacing[number % 2]
        store.add(sync(offset, offset))
        now = set(upstreams(store))
        assert len(kept - now) <= drops_max
        kept = now


def test_checkpoint_vectors() -> None:
    store = started()
    store.add(sync(3, 4))
    assert store.translate("t", 0, 10) == 5
    store.add(sync(7, 8))
    assert store.translate("t", 0, 12) == 9
    assert store.translate("t", 0, 7) == 8

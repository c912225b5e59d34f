"""Find a position between two sequences of fingerprints that were read whole.

Here are the rules of alignment without any reading: `align.Aligner` reads the sequences and asks
`locate`. Indexes are into the sequences, and an index names the record at or after a position.

Model: each sequence is the same log, perhaps with a suffix repeated (MM2 restarted) and with
records missing (compaction, retention, not copied yet). A *certain* match is a record that can only
be one record of the other sequence. From the certain matches follow two bounds:

- ``high``: no record from the position on may have its last certain place before the answer;
  ``safe`` is the same with the first place of records that are not certain;
- ``low``: after the last certain match of a record before the position.

Every index from 0 to ``high`` is safe (nothing is skipped); the nearer to ``high``, the fewer
are read twice. The answer is never above ``high``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_RUN = 8  # consecutive matches that show a repeat by MM2 rather than equal records by chance


@dataclass(frozen=True, slots=True)
class Problem:
    """Two sequences, and the position: ``cut`` records of the source lie before it.

    ``after_previous`` / ``at_next``: the position's offset directly follows the record before it /
    is that of the record after it. ``pinned_low`` / ``pinned_high``: the first / last records of
    both are the same record, as a verified offset sync says. ``starts_match`` / ``ends_match``:
    both begin / end at corresponding bounds. ``strict``: fingerprints carry no timestamp, so that
    one match proves little. ``from_origin``: the target holds nothing that the source never had.
    """

    source: Sequence[bytes]
    target: Sequence[bytes]
    cut: int
    after_previous: bool
    at_next: bool
    pinned_low: bool = False
    pinned_high: bool = False
    starts_match: bool = False
    ends_match: bool = False
    strict: bool = False
    from_origin: bool = False


@dataclass(frozen=True, slots=True)
class Located:
    """The answer lies in [low, high]; exact if they are equal. ``low`` is the one to use."""

    low: int
    high: int
    by: str


@dataclass(frozen=True, slots=True)
class NotReached:
    """The target ends before the position, directly after the source's record ``reached``."""

    reached: int | None


@dataclass(frozen=True, slots=True)
class Unrelated:
    """The sequences have no record in common, so one says nothing about the other."""


def locate(problem: Problem) -> Located | NotReached | Unrelated:
    """Find the index in the target that corresponds to the cut in the source."""
    certain = _certain(problem)
    last = {print_: at for at, print_ in enumerate(problem.target)}
    first = {print_: at for at, print_ in reversed(list(enumerate(problem.target)))}
    if not certain and problem.target and not last.keys() & set(problem.source):
        return Unrelated()
    if _unfinished(problem, certain, last) or _cut_short(problem, certain, first, last):
        certain = {at: found[:1] for at, found in certain.items()}
    earliest = {at: first[p] for at, p in enumerate(problem.source) if p in first}
    safe, _ = _high(problem, {**earliest, **{at: found[-1] for at, found in certain.items()}})
    high, next_ = _high(problem, {at: found[-1] for at, found in certain.items()})
    low, previous = _low(problem, certain, safe)
    if low == high:
        return _meeting(problem, certain, low, next_)
    between = problem.target[low:high]
    in_order = next_ is not None and not last.keys() & set(problem.source[problem.cut : next_])
    if safe == high and in_order and all(last[print_] >= high for print_ in between):
        return Located(high, high, "last repeat")
    if problem.after_previous and previous == problem.cut - 1:
        return _after_previous(problem, low, high)
    skippable = safe == high and _skippable(problem, low, high, last)
    if problem.at_next and next_ == problem.cut and skippable:
        return Located(high, high, "next record")
    return _between(problem, (previous, next_), low, high)


def _certain(problem: Problem) -> dict[int, tuple[int, ...]]:
    """Return, by source index, the target indexes of records that cannot be mistaken.

    Several places in the target are repeats only below the last place that both sides surely
    share; above it they may be equal records that the source does not hold yet.
    """
    places: dict[bytes, list[int]] = {}
    for at, print_ in enumerate(problem.target):
        places.setdefault(print_, []).append(at)
    counts = Counter(problem.source)
    settled = problem.pinned_high or problem.ends_match or problem.from_origin
    single = (found[0] for print_, found in places.items() if len(found) == counts[print_] == 1)
    shared = len(problem.target) if settled else max(single, default=-1)
    runs = _runs(problem.source, places)
    certain: dict[int, tuple[int, ...]] = {}
    for at, print_ in enumerate(problem.source):
        found = tuple(places.get(print_, ()))
        if counts[print_] > 1 and (problem.strict or len(found) != 1 or runs[at] < _RUN):
            continue
        if problem.strict and not all(_has_neighbour(problem, at, place) for place in found):
            continue
        if found and (len(found) == 1 or found[-1] < shared):
            certain[at] = found
    if problem.pinned_low:
        certain[0] = (0,)
    if problem.pinned_high:
        certain[len(problem.source) - 1] = (len(problem.target) - 1,)
    return certain


def _unfinished(
    problem: Problem, certain: dict[int, tuple[int, ...]], last: dict[bytes, int]
) -> bool:
    """Tell whether a last repeat may lack records that equal some before the cut.

    Then the first places are taken: what precedes a record's first place never follows it.
    """
    places = [found[-1] for at, found in certain.items() if len(found) > 1]
    done, later = set(problem.source[: problem.cut]), set(problem.source[problem.cut :])
    return any(last.get(print_, -1) < place for print_ in done & later for place in places)


def _cut_short(
    problem: Problem,
    certain: dict[int, tuple[int, ...]],
    first: Mapping[bytes, int],
    last: Mapping[bytes, int],
) -> bool:
    """Tell whether what follows the cut stands only before the last repeat of what precedes it.

    The source may end at the cut and so not know what follows: what comes first behind the first
    places of all that precedes. A repeat that was cut short does not have it again.
    """
    done = [found for at, found in certain.items() if at < problem.cut]
    if all(len(found) == 1 for found in done):
        return False
    begin, end = max(found[0] for found in done), max(found[-1] for found in done)
    between = problem.target[begin + 1 : end]
    return any(first[print_] > begin and last[print_] < end for print_ in between)


def _runs(source: Sequence[bytes], places: dict[bytes, list[int]]) -> list[int]:
    """Return, by source index, the length of its run of consecutive unambiguous matches."""
    lengths = [0] * len(source)
    begin, expected = 0, -1
    for at, print_ in enumerate([*source, b""]):
        found = places.get(print_, [])
        place = found[0] if len(found) == 1 else -1
        if place < 0 or place != expected:
            for member in range(begin, at):
                lengths[member] = at - begin
            begin = at
        expected = place + 1 if place >= 0 else -1
    return lengths


def _has_neighbour(problem: Problem, at: int, place: int) -> bool:
    source, target = problem.source, problem.target
    left = at > 0 and place > 0 and source[at - 1] == target[place - 1]
    inside = at + 1 < len(source) and place + 1 < len(target)
    return left or (inside and source[at + 1] == target[place + 1])


def _high(problem: Problem, places: Mapping[int, int]) -> tuple[int, int | None]:
    """Return the least place of a record after the cut, and that record (None: the end)."""
    done = set(problem.source[: problem.cut])
    high, setter = len(problem.target), None
    for at in range(problem.cut, len(problem.source)):
        # A record seen before the cut may be meant by every occurrence in the target; a pinned
        # one is known to be the one after the cut.
        pinned = problem.pinned_high and at == len(problem.source) - 1
        place = places.get(at, high)
        if place < high and (pinned or problem.source[at] not in done):
            high, setter = place, at
    return high, setter


def _low(
    problem: Problem, certain: dict[int, tuple[int, ...]], high: int
) -> tuple[int, int | None]:
    """Return the index after the furthest certain match before ``high``, and its source record."""
    low, setter = 0, None
    for at in range(problem.cut):
        below = [place for place in certain.get(at, ()) if place < high]
        if below and below[-1] >= low:
            low, setter = below[-1] + 1, at
    return low, setter


def _meeting(
    problem: Problem, certain: dict[int, tuple[int, ...]], low: int, next_: int | None
) -> Located | NotReached:
    """Both bounds are equal: exact, unless it is the end of a target that may still grow."""
    open_end = next_ is None and not problem.ends_match
    if open_end and problem.cut and problem.cut - 1 not in certain:
        return NotReached(max((at for at in certain if at < problem.cut), default=None))
    return Located(low, low, "unique record" if low else "next record")


def _after_previous(problem: Problem, low: int, high: int) -> Located:
    """Answer where the record directly before the position is found for certain."""
    counts = Counter(problem.source)
    if all(counts[print_] <= 1 for print_ in problem.target[low:high]):
        return Located(low, low, "previous record")
    equal = _equal_between(problem, (problem.cut - 1, None), low, high)
    return Located(low, low if equal else high, "previous record")


def _skippable(problem: Problem, low: int, high: int, last: dict[bytes, int]) -> bool:
    """Tell whether nothing in target[low:high] can be a record from the position on."""
    later = set(problem.source[problem.cut :])
    return all(print_ not in later or last[print_] >= high for print_ in problem.target[low:high])


def _between(
    problem: Problem, around: tuple[int | None, int | None], low: int, high: int
) -> Located:
    """Answer where neither neighbour is certain: by equal sequences, else the earliest place."""
    previous, _ = around
    if _equal_between(problem, around, low, high):
        at = low + problem.cut - (0 if previous is None else previous + 1)
        return Located(at, at, "equal sequences")
    return Located(low, high, "earliest")


def _equal_between(
    problem: Problem, around: tuple[int | None, int | None], low: int, high: int
) -> bool:
    """Tell whether both sequences are the same between two places that are known to match."""
    previous, next_ = around
    bottom = previous is not None or problem.starts_match
    whole_target = high == len(problem.target) and next_ is None
    top = next_ is not None or (whole_target and (problem.ends_match or problem.from_origin))
    begin = 0 if previous is None else previous + 1
    end = len(problem.source) if next_ is None else next_
    return bottom and top and problem.source[begin:end] == problem.target[low:high]

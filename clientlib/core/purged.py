"""In which order records were produced that a lost cluster never acknowledged.

A purge reports what still waited before what was already on its way, and tells neither offset nor
time. What it tells is the latency: a report is made after the one before it was taken and before it
is taken itself, so that the record was produced within a *window*. That is mostly microseconds
wide, but a process that is kept waiting just there has one of many milliseconds, so the order of
the reports, which is right from one run of reports to the next change, narrows it.
"""

from collections.abc import Iterable

from clientlib.core.replay_buffer import Kept, Key


def in_order(returned: Iterable[Kept]) -> list[Kept]:
    """Return records as they were produced, by partition; each window becomes an instant."""
    by_partition: dict[Key, list[Kept]] = {}
    for one in returned:
        by_partition.setdefault(one.where, []).append(one)
    return [one for reports in by_partition.values() for one in _ordered(reports)]


def _ordered(reports: list[Kept]) -> list[Kept]:
    found: list[tuple[float, Kept]] = []
    following = float("inf")
    for one in reversed(reports):
        first, last = one.window
        at = max(first, min(last, following))
        at_ms = int(at * 1000) if one.guessed else one.at_ms
        found.append((at, one._replace(window=(at, at), at_ms=at_ms)))
        following = at
    found.reverse()
    found.sort(key=lambda pair: pair[0])
    return [one for _, one in found]


def in_turn(records: Iterable[Kept]) -> list[Kept]:
    """Return records of several partitions by their times, none before its partition's last one.

    An application may give its records any times, also such that run backwards.
    """
    latest: dict[Key, float] = {}
    timed: list[tuple[float, Kept]] = []
    for one in records:
        latest[one.where] = max(one.at_ms, latest.get(one.where, 0.0))
        timed.append((latest[one.where], one))
    timed.sort(key=lambda pair: pair[0])
    return [one for _, one in timed]

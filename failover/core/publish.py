"""What a run writes, as pure functions: the states of the two sides, and the ledger of the commit.

Revisions within an epoch: planned on r, closing r+1, intent r+2, reopened r+3; the new epoch starts
at 0. So every write of a run has a fixed place in the order, and writing it twice is the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from clientlib.protocol.ledger import ClosedEpoch, Ledger, join_spans
from clientlib.protocol.skips import Skip, Squeezed, clip, join
from clientlib.protocol.state import Phase, State, View, ledger_record
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.machine import InvariantError, Run

Record = tuple[bytes, bytes | None]


def closing(run: Run) -> State:
    """Return the state that asks producers to stop."""
    return _revised(run, 1, Phase.CLOSING, run.target)


def intent(run: Run) -> State:
    """Return the state that announces the commit."""
    return _revised(run, 2, Phase.INTENT, run.target)


def reopened(run: Run) -> State:
    """Return the state that undoes the run: the same epoch, open again."""
    return _revised(run, 3, Phase.ACTIVE, "")


def committed(run: Run) -> State:
    """Return the state that makes the target active. Raises InvariantError without an intent."""
    if not run.intent:
        raise InvariantError("a commit needs an intent")
    base = run.base
    return replace(
        base,
        epochs=(*run.base.epochs, run.epoch),
        revision=0,
        phase=Phase.ACTIVE,
        run=run.id,
        target="",
        unplanned=(*base.unplanned, run.epoch.counter) if run.request.emergency else base.unplanned,
    )


def _revised(run: Run, by: int, phase: Phase, target: ClusterAlias) -> State:
    base = run.base
    return replace(base, revision=base.revision + by, phase=phase, run=run.id, target=target)


def shows_commit(run: Run, view: View) -> bool:
    """Say whether a cluster's view holds this run's commit (or a later one)."""
    return view.state is not None and view.state.epoch.counter >= run.epoch.counter


def starts(
    base: State, topics: Mapping[str, int], known: View, cluster: ClusterAlias
) -> dict[Partition, Offset]:
    """Return where the open epoch starts on a cluster, by logical partition.

    It is the end of the last epoch of the same origin, 0 before the first.
    """
    return {part: start(base, part, known, cluster) for part in partitions(topics)}


def partitions(topics: Mapping[str, int]) -> list[Partition]:
    """Return the logical partitions of topics, by how many each has."""
    return [Partition(topic, number) for topic, n in topics.items() for number in range(n)]


def start(base: State, part: Partition, known: View, cluster: ClusterAlias) -> Offset:
    """Return where the open epoch starts in one logical partition on a cluster."""
    *_, current = Ledger(base.epochs, known.ledger.get(part.topic, {})).ranges(part.number, cluster)
    return current.start


def closed_epochs(run: Run, known: View) -> dict[str, ClosedEpoch]:
    """Return, by topic, the epoch that the run closes.

    A partition that is empty in it has no end, and a topic that is empty in it no entry. Of an
    unplanned switch it has the ends on the target alone: the other side's are found out later.
    """
    if run.request.emergency:
        return _closed_without(run, known)
    begun = starts(run.base, run.topics, known, run.source)
    written = {part for part, end in run.ends.items() if end > begun.get(part, 0)}
    result: dict[str, ClosedEpoch] = {}
    for topic in {part.topic for part in written}:
        mine = sorted(part for part in written if part.topic == topic)
        ends = {
            run.source: {part.number: run.ends[part] for part in mine},
            run.target: {part.number: run.copies[part] for part in mine},
        }
        skip = {part.number: found for part in mine if (found := _skips(run, known, part, begun))}
        result[topic] = ClosedEpoch(run.base.epoch, ends, {run.target: skip} if skip else {})
    return result


def _skips(run: Run, known: View, part: Partition, begun: Mapping[Partition, Offset]) -> Skip:
    """Return what nobody is to read of the copy: its repeats, and what is skipped at home.

    Without its repeats the copy is as long as its origin, or else nobody can say by offsets alone
    where it holds a record; then nothing more is skipped, and replayed records come again.
    """
    repeats = run.skips.get(part, ())
    rows = known.ledger.get(part.topic, {})
    ledger = Ledger(run.base.epochs, rows)
    first, end = begun.get(part, 0), run.ends[part]
    home = clip(ledger.skipped(part.number, run.source, run.source), first, end)
    if not home:
        return repeats
    there = starts(run.base, {part.topic: part.number + 1}, known, run.target)[part]
    return carried(home, (first, end), (there, run.copies[part]), repeats)


def carried(
    skip: Skip, here: tuple[Offset, Offset], there: tuple[Offset, Offset], repeats: Skip
) -> Skip:
    """Return what is skipped in one log's range as spans of another's, its ``repeats`` included.

    Only the repeats where the ranges are not equally long without them: offsets say nothing then.
    """
    inward = Squeezed(repeats)
    if inward.inward(there[1]) - inward.inward(there[0]) != here[1] - here[0]:
        return repeats
    by = inward.inward(there[0]) - here[0]
    within = clip(skip, *here)
    moved = ((inward.outward(a + by), inward.outward(b - 1 + by) + 1) for a, b in within)
    return join(repeats, moved)


def _closed_without(run: Run, known: View) -> dict[str, ClosedEpoch]:
    begun = starts(run.base, run.topics, known, run.target)
    # each topic has a row: what the lost cluster alone holds of it is compared when it is back
    result: dict[str, ClosedEpoch] = {}
    for topic in run.topics:
        held = sorted(
            part
            for part, end in run.copies.items()
            if part.topic == topic and end > begun.get(part, 0)
        )
        ends = {part.number: run.copies[part] for part in held}
        skip = {part.number: run.skips[part] for part in held if run.skips.get(part)}
        skips = {run.target: skip} if skip else {}
        result[topic] = ClosedEpoch(run.base.epoch, {run.target: ends}, skips)
    return result


def ledger_of(run: Run, known: View) -> dict[str, dict[int, ClosedEpoch]]:
    """Return the scope's whole ledger after the commit: known, owed, and the epoch closed now.

    Raises InvariantError when an end that is known would be decided again.
    """
    result = {topic: dict(rows) for topic, rows in known.ledger.items()}
    added = [(t, row) for t, rows in run.owed.items() for row in rows]
    _add(result, added)
    # an older end that was found out on the way may be where the closed epoch begins
    _add(result, closed_epochs(run, replace(known, ledger=result)).items())
    return result


def _add(
    ledger: dict[str, dict[int, ClosedEpoch]], rows: Iterable[tuple[str, ClosedEpoch]]
) -> None:
    for topic, row in rows:
        into = ledger.setdefault(topic, {})
        into[row.epoch.counter] = _joined(topic, into.get(row.epoch.counter), row)


def _joined(topic: str, old: ClosedEpoch | None, new: ClosedEpoch) -> ClosedEpoch:
    if old is None:
        return new
    for cluster in old.ends.keys() & new.ends.keys():
        if dict(old.ends[cluster]) != dict(new.ends[cluster]):
            raise InvariantError(f"{topic}: epoch {old.epoch.counter} has an end on {cluster}")
    skip, late = join_spans(old.skip, new.skip), join_spans(old.late, new.late)
    return ClosedEpoch(old.epoch, {**new.ends, **old.ends}, skip, late)


def lacking(
    scope: str, ledger: Mapping[str, Mapping[int, ClosedEpoch]], view: View
) -> Iterable[Record]:
    """Yield the ledger records that a cluster's view lacks."""
    for topic, rows in sorted(ledger.items()):
        for counter, row in sorted(rows.items()):
            have = view.ledger.get(topic, {}).get(counter)
            if have is None or _facts(have) != _facts(row):
                yield ledger_record(scope, topic, row)


def _facts(row: ClosedEpoch) -> tuple[object, ...]:
    return dict(row.ends), row.skip, row.late

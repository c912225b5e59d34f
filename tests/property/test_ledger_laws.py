"""Laws of the ledger: the gate never opens early and always opens, moving there and back."""

from hypothesis import given
from hypothesis import strategies as st

from clientlib.protocol.ledger import ClosedEpoch, Ledger, NeedsAlignment, gate, move
from clientlib.protocol.types import Epoch, Position

L, R = "LEFT", "RIGHT"


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Any number of switches between two clusters; an epoch can be empty."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=7))
    epochs, closed = [], {}
    ends = {(origin, on): 0 for origin in (L, R) for on in (L, R)}
    for at, (records, markers) in enumerate(lengths):
        epoch = Epoch(at + 1, (L, R)[at % 2])
        epochs.append(epoch)
        if records:
            for on, more in ((L, 0), (R, markers)):
                ends[epoch.cluster, on] += records + more
            closed[epoch.counter] = ClosedEpoch(
                epoch, {on: {0: ends[epoch.cluster, on]} for on in (L, R)}
            )
    epochs.append(Epoch(len(epochs) + 1, (L, R)[len(epochs) % 2]))
    return Ledger(tuple(epochs), closed)


@given(ledgers(), st.sampled_from((L, R)))
def test_the_gate_opens_each_range_in_order_and_ends_in_the_open_one(
    ledger: Ledger, on: str
) -> None:
    at: dict[str, int] = {}
    seen = []
    for _ in range(len(ledger.epochs) + 1):
        read = gate(ledger, Position(1, on, at), 0)
        seen.append(read.epoch.counter)
        if read.end is None:
            break
        at = {**at, read.origin: read.end}
    assert seen == sorted(set(seen))
    assert seen[-1] == ledger.epochs[-1].counter
    nonempty = {r.epoch.counter for r in ledger.ranges(0, on) if r.end is None or r.end > r.start}
    assert set(seen) == nonempty


@given(ledgers(), st.sampled_from((L, R)), st.data())
def test_the_gate_never_opens_early(ledger: Ledger, on: str, data: st.DataObject) -> None:
    """While a record of an epoch is missing, no later epoch can be read."""
    ranges = [r for r in ledger.ranges(0, on) if r.end is None or r.end > r.start]
    chosen = data.draw(st.integers(0, len(ranges) - 1))
    at: dict[str, int] = {}
    for done in ranges[:chosen]:
        assert done.end is not None
        at[done.epoch.cluster] = done.end
    here = ranges[chosen]
    last = here.start + 5 if here.end is None else here.end - 1
    inside = data.draw(st.integers(here.start, last))
    later = {r.epoch.cluster: r.end for r in ranges[chosen + 1 :] if r.end is not None}
    other = {o: end for o, end in later.items() if o != here.epoch.cluster}
    offsets = {**at, **other, here.epoch.cluster: inside}
    read = gate(ledger, Position(1, on, offsets), 0)
    assert (read.epoch, read.at, read.end) == (here.epoch, inside, here.end)


@given(ledgers(), st.sampled_from((L, R)), st.data())
def test_moving_there_and_back_is_the_identity_at_range_bounds(
    ledger: Ledger, on: str, data: st.DataObject
) -> None:
    to = R if on == L else L
    bounds = {o: [0] for o in (L, R)}
    for span in ledger.ranges(0, on):
        bounds[span.epoch.cluster] += [b for b in (span.start, span.end) if b is not None]
    offsets = {o: data.draw(st.sampled_from(bounds[o])) for o in (L, R)}

    def never(origin: str, task: NeedsAlignment) -> int:
        raise AssertionError(f"a bound of {origin} needs no alignment: {task}")

    start = Position(1, on, offsets)
    there = move(ledger, start, 0, epoch=2, on=to, align=never)
    back = move(ledger, there, 0, epoch=3, on=on, align=never)
    assert back.offsets == start.offsets
    assert gate(ledger, there, 0).epoch == gate(ledger, start, 0).epoch

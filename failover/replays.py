"""What producers have written again of a lost cluster's log, wherever that stands."""

from collections import Counter
from collections.abc import Iterator, Mapping

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.ledger import Ledger
from clientlib.protocol.replay import Manifest, original, original_print
from clientlib.protocol.skips import Skip, clip, join
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.io.ports import LogReader, Ports, StateStore, Window
from failover.settled import UnsettledError, held_open

_BATCH = 5_000
_NEAR = 20_000
"""So far into the epoch that a loss has opened replays are looked for without a manifest: its
producer may have ended before it had written that."""


class Replays:
    """Finds the replays of one lost epoch. ``state`` names the epochs since."""

    def __init__(self, ports: Ports, state: State, *, near: bool = True) -> None:
        self._ports, self._state, self._near = ports, state, near
        self._listed: dict[ClusterAlias, Mapping[str, int]] = {}

    def of(
        self, part: Partition, counter: int, ledger: Ledger, *, stamped: bool
    ) -> tuple[set[Offset], Counter[bytes]]:
        """Return what was written again of a log: by its offset there, else by content.

        ``part``: logical; ``counter``: the lost epoch. ``stamped``: timestamps tell records apart.
        """
        home = next(e.cluster for e in self._state.epochs if e.counter == counter)
        offsets: set[Offset] = set()
        prints: Counter[bytes] = Counter()
        for alias, span in self._places(part, counter, ledger):
            for record in records_of(self._ports.reader, alias, part, *span):
                for one in original(record.headers)[0]:
                    if (one.cluster, one.epoch) != (home, counter):
                        continue
                    if one.offset is not None:
                        offsets.add(one.offset)
                    else:
                        prints[original_print(record, use_timestamp=stamped)] += 1
        return offsets, prints

    def _places(
        self, part: Partition, counter: int, ledger: Ledger
    ) -> Iterator[tuple[ClusterAlias, tuple[Offset, Offset]]]:
        """Yield where to look: on every cluster that was active since, and can be asked."""
        admin, store = self._ports.admin, self._ports.store
        first, *_ = (epoch for epoch in self._state.epochs if epoch.counter > counter)
        for alias in since(self._state, counter):
            if part.number >= self._partitions(alias).get(part.topic, 0):
                continue
            told = (m.ranges.get(part.topic, {}).get(part.number) for m in store.manifests(alias))
            spans: Skip = tuple(span for span in told if span is not None)
            if self._near and alias == first.cluster:
                start = ledger.start(first.counter, part.number, alias)
                spans = (*spans, (start, start + _NEAR))
            if not spans:
                continue
            # not behind a transaction that is open: who has yet to write again was waited for
            low, end = admin.starts(alias, [part])[part], admin.stable_ends(alias, [part])[part]
            for span in clip(join(spans), low, end):
                yield alias, span

    def _partitions(self, alias: ClusterAlias) -> Mapping[str, int]:
        """Return a cluster's topics, asked once; none where it does not answer."""
        if alias not in self._listed:
            heard = self._ports.store.clients([alias])
            self._listed[alias] = self._ports.admin.partitions(alias) if heard else {}
        return self._listed[alias]


def since(state: State, counter: int) -> tuple[ClusterAlias, ...]:
    """Return the clusters that were active after an epoch, in order."""
    later = (epoch.cluster for epoch in state.epochs if epoch.counter > counter)
    return tuple(dict.fromkeys(later))


def manifests_since(store: StateStore, state: State, counter: int) -> tuple[Manifest, ...]:
    """Return what producers say that they have written again since, wherever that can be read."""
    heard = (alias for alias in since(state, counter) if store.clients([alias]))
    return tuple(manifest for alias in heard for manifest in store.manifests(alias))


def records_of(
    reader: LogReader, alias: ClusterAlias, part: Partition, start: Offset, end: Offset
) -> Iterator[LogRecord]:
    """Yield the committed records of a range. Raises UnsettledError at an open transaction."""
    at = start
    while at < end:
        found = reader.read(alias, {part: Window(at, end, _BATCH)}, committed=True)[part]
        yield from found.records
        if found.covered_to is not None:
            if found.covered_to == at:
                raise UnsettledError(f"{alias}: {held_open(part, at)}")
            at = found.covered_to
        else:
            full = len(found.records) == _BATCH
            at = found.records[-1].offset + 1 if full else end

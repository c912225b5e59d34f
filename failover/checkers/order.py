"""Checkers of order: within a group's deliveries, within a log, between writers and epochs."""

from collections import defaultdict
from collections.abc import Iterator

from failover.checkers.anomalies import Anomaly, Kind
from failover.checkers.epochs import EpochLine, Floor
from failover.checkers.events import Acked, Delivered, EpochSeen
from failover.checkers.history import History


def out_of_order(history: History) -> tuple[Anomaly, ...]:
    """Find records first delivered to a group after one that belongs behind them.

    First deliveries must rise, across all consumers of the group and all clusters, in the
    sequence number per (producer, key) and per (producer, logical topic, partition), and in the
    offset per log (unless its cluster was lost in between, and perhaps the end of the log with it).
    What somebody who has not heard of a loss reads of the lost cluster does not count, nor do
    repeats: they are judged by ``repeated``. Records without a key have no order
    across partitions. A log whose cluster is unknown is judged by sequence only.
    One anomaly for each record that came too late, whatever it broke.
    """
    late: dict[tuple[str, str, int], Anomaly] = {}
    for anomaly in (*_against_sequence(history), *_against_log(history)):
        event = anomaly.evidence[-1]
        if isinstance(event, Delivered):
            late.setdefault((event.group, event.producer, event.seq), anomaly)
    return tuple(late.values())


def _against_sequence(history: History) -> Iterator[Anomaly]:
    for (group, producer), got in history.reading.firsts.items():
        sent = history.sent_by.get(producer, {})
        by_key: dict[str, Delivered] = {}
        by_partition: dict[tuple[str, int], Delivered] = {}
        for seq, event in got.items():
            if history.stale(event):
                continue
            known = sent.get(seq)
            topic = history.topic_of(event) if known is None else known.topic
            log = (topic, event.partition)
            before = by_partition.get(log)
            if before is None or before.seq < seq:
                by_partition[log] = event
            else:
                yield _late(f"{group}: order of {producer} in {topic}[{log[1]}]", before, event)
            key = event.key
            if key is None:
                continue
            before = by_key.get(key)
            if before is None or before.seq < seq:
                by_key[key] = event
            else:
                yield _late(f"{group}: order of {producer} for key {key!r}", before, event)


def _against_log(history: History) -> Iterator[Anomaly]:
    heads: dict[tuple[str, str, str, int], Delivered] = {}
    for event in history.reading.progress:
        cluster = event.cluster or history.log_of(event).cluster
        if cluster is None:
            continue
        log = (event.group, cluster, event.topic, event.partition)
        before = heads.get(log)
        if before is not None and history.lost_between(cluster, before.at, event.at) is not None:
            before = None  # it may have come back without the end of its log
        if before is None or before.offset < event.offset:
            heads[log] = event
        elif before.offset > event.offset:
            where = f"{cluster}:{event.topic}[{event.partition}]"
            yield _late(f"{event.group}: offset {event.offset} of {where}", before, event)


def _late(what: str, before: Delivered, event: Delivered) -> Anomaly:
    text = f"{what}: {event.producer}#{event.seq} came after {before.producer}#{before.seq}"
    return Anomaly(Kind.OUT_OF_ORDER, text, (before, event))


def conflicting_offset(history: History) -> tuple[Anomaly, ...]:
    """Find two records at one offset of one log: it was truncated, recreated or diverged.

    A cluster that had been lost may have come back without the end of its log.
    """
    held: defaultdict[tuple[str, str, int], dict[int, Acked | Delivered]] = defaultdict(dict)
    found: list[Anomaly] = []
    events: tuple[Acked | Delivered, ...]
    for events in (history.acked, history.reading.progress):
        for event in events:
            cluster = event.cluster
            if cluster is None or event.offset < 0:
                continue  # an origin log is judged by its acknowledgements that know their offset
            first = held[cluster, event.topic, event.partition].setdefault(event.offset, event)
            if first is event or (first.seq == event.seq and first.producer == event.producer):
                continue
            if history.lost_before(cluster, max(first.at, event.at)):
                continue
            found.append(_conflict(cluster, first, event))
    return tuple(found)


def _conflict(cluster: str, first: Acked | Delivered, second: Acked | Delivered) -> Anomaly:
    names = " and ".join(f"{event.producer}#{event.seq}" for event in (first, second))
    what = f"{cluster}:{second.topic}[{second.partition}] holds {names} at offset {second.offset}"
    return Anomaly(Kind.CONFLICTING_OFFSET, what, (first, second))


def two_active_writers(history: History) -> tuple[Anomaly, ...]:
    """Find records acknowledged by a cluster that cannot have been the active one.

    A record was written at some instant between its Sent and its Acked. Its cluster must be that
    of an epoch that had begun by the acknowledgement, and that is not below an epoch in which,
    before the record was sent, its producer already was or another record had been acknowledged.
    So writes of different epochs may overlap only where they were in flight. Only a cluster that
    had been lost may take records from a producer that has not heard of the new epoch: nobody can
    keep those two from meeting. Without any EpochSeen there is one epoch, and each acknowledgement
    by a second cluster counts.
    """
    line = EpochLine.of(history)
    proven = Floor()
    known = _floors_by_client(history, line)
    found: list[Anomaly] = []
    for acked, latest in line.follow(history.acked):
        if proven.top == latest and line.clusters[latest] == acked.cluster:
            continue
        sent = history.sent_by.get(acked.producer, {}).get(acked.seq)
        since = acked.at if sent is None else sent.at
        lowest = known.get(acked.producer, Floor()).at(since)
        if not history.lost_before(acked.cluster, acked.at):
            lowest = max(lowest, proven.at(since))
        index = line.find(acked.cluster, range(lowest, latest + 1))
        if index is not None:
            proven.raise_to(index, acked.at)
            continue
        allowed = ", ".join(
            f"{line.counters[i]} ({line.clusters[i]})" for i in range(lowest, latest + 1)
        )
        what = f"{acked.producer}#{acked.seq} acknowledged by {acked.cluster} in epoch {allowed}"
        evidence = (acked,) if sent is None else (sent, acked)
        found.append(Anomaly(Kind.TWO_ACTIVE_WRITERS, what, evidence))
    return tuple(found)


def _floors_by_client(history: History, line: EpochLine) -> dict[str, Floor]:
    index = {counter: i for i, counter in enumerate(line.counters)}
    floors: defaultdict[str, Floor] = defaultdict(Floor)
    for seen in history.epochs:
        floors[seen.client].raise_to(index[seen.epoch], seen.at)
    return dict(floors)


def epoch_going_back(history: History) -> tuple[Anomaly, ...]:
    """Find clients that saw a lower epoch than before, over their restarts too."""
    highest: dict[str, EpochSeen] = {}
    found: list[Anomaly] = []
    for seen in history.epochs:
        before = highest.setdefault(seen.client, seen)
        if seen.epoch > before.epoch:
            highest[seen.client] = seen
        elif seen.epoch < before.epoch:
            what = f"{seen.client} went from epoch {before.epoch} back to {seen.epoch}"
            found.append(Anomaly(Kind.EPOCH_GOING_BACK, what, (before, seen)))
    return tuple(found)


def split_epoch(history: History) -> tuple[Anomaly, ...]:
    """Find epoch counters with two active clusters: two orchestrators both won."""
    first: dict[int, EpochSeen] = {}
    found: list[Anomaly] = []
    for seen in history.epochs:
        before = first.setdefault(seen.epoch, seen)
        if before.cluster != seen.cluster:
            what = f"epoch {seen.epoch} activated both {before.cluster} and {seen.cluster}"
            found.append(Anomaly(Kind.SPLIT_EPOCH, what, (before, seen)))
    return tuple(found)

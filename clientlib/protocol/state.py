"""State, ledger and run records of the state topic, and how they fold into a view.

The topic is written by orchestrators only, through a fenced transactional producer, so that on one
cluster offset order is revision order. Across clusters the highest (epoch, revision) wins.

    ["state", SCOPE]                the scope's state
    ["ledger", SCOPE, TOPIC, N]     the ends of closed epoch N of one logical topic
    ["run", SCOPE, RUN, SEQUENCE]   the journal of a run, one record per entry
    ["mark", SCOPE]                 the mark that a living run renews every second
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.ledger import ClosedEpoch, Ledger, join_spans
from clientlib.protocol.records import decode_key, decode_value, encode_key, encode_value
from clientlib.protocol.skips import Skip
from clientlib.protocol.types import ClusterAlias, Epoch, Revision


class Phase(StrEnum):
    """What producers may do: they write if and only if the phase is active."""

    ACTIVE = "active"
    CLOSING = "closing"
    INTENT = "intent"


@dataclass(frozen=True, slots=True)
class State:
    """A scope's state: its epochs so far (the last one is current), phase and the run behind it.

    ``clusters`` maps each alias to Kafka's own cluster id, fixed at ``failover init``.
    ``unplanned`` are the counters of epochs that were opened without the cluster before them.
    """

    scope: str
    epochs: tuple[Epoch, ...]
    revision: int
    phase: Phase = Phase.ACTIVE
    run: str = ""
    target: ClusterAlias = ""
    clusters: Mapping[ClusterAlias, str] = field(default_factory=dict)
    unplanned: tuple[int, ...] = ()

    @property
    def lost(self) -> ClusterAlias | None:
        """The cluster that was given up when the current epoch was opened, if one was."""
        unplanned = self.epoch.counter in self.unplanned and len(self.epochs) > 1
        return self.epochs[-2].cluster if unplanned else None

    @property
    def activated(self) -> frozenset[ClusterAlias]:
        """Every cluster that has been active: the origins of the scope's records."""
        return frozenset(epoch.cluster for epoch in self.epochs)

    @property
    def epoch(self) -> Epoch:
        """The current epoch."""
        return self.epochs[-1]

    @property
    def active(self) -> ClusterAlias:
        """The cluster that takes production writes."""
        return self.epochs[-1].cluster

    @property
    def order(self) -> Revision:
        """What decides between two clusters' states."""
        return Revision(self.epoch.counter, self.revision)

    def key(self) -> bytes:
        """Key of the state record."""
        return encode_key("state", self.scope)

    def value(self) -> bytes:
        """Value of the state record."""
        return encode_value(
            {
                "epochs": [list(epoch) for epoch in self.epochs],
                "revision": self.revision,
                "phase": self.phase.value,
                "run": self.run,
                "target": self.target,
                "clusters": dict(self.clusters),
                "unplanned": list(self.unplanned),
            }
        )


def _state(scope: str, body: Mapping[str, Any]) -> State:
    epochs = tuple(Epoch(int(counter), str(cluster)) for counter, cluster in body["epochs"])
    if not epochs:
        raise RecordFormatError(f"state of scope {scope!r} has no epoch")
    return State(
        scope=scope,
        epochs=epochs,
        revision=int(body["revision"]),
        phase=Phase(body["phase"]),
        run=str(body.get("run", "")),
        target=str(body.get("target", "")),
        clusters={str(k): str(v) for k, v in body.get("clusters", {}).items()},
        unplanned=tuple(int(counter) for counter in body.get("unplanned", ())),
    )


def ledger_record(scope: str, topic: str, entry: ClosedEpoch) -> tuple[bytes, bytes]:
    """Return key and value of a ledger record."""
    ends = {
        cluster: {str(partition): end for partition, end in sorted(by.items())}
        for cluster, by in entry.ends.items()
    }
    key = encode_key("ledger", scope, topic, entry.epoch.counter)
    body = {"cluster": entry.epoch.cluster, "ends": ends}
    spans = {"skip": encode_spans(entry.skip), "late": encode_spans(entry.late)}
    return key, encode_value(body | spans)


def encode_spans(spans: Mapping[ClusterAlias, Mapping[int, Skip]]) -> dict[str, Any]:
    """Return spans by cluster and partition as plain JSON values."""
    return {
        cluster: {str(partition): [list(span) for span in by] for partition, by in found.items()}
        for cluster, found in spans.items()
    }


def decode_spans(body: Mapping[str, Any]) -> dict[ClusterAlias, dict[int, Skip]]:
    """Take apart what `encode_spans` made."""
    return {
        str(cluster): {
            int(partition): tuple((int(first), int(end)) for first, end in by)
            for partition, by in found.items()
        }
        for cluster, found in body.items()
    }


def _closed(counter: int, body: Mapping[str, Any]) -> ClosedEpoch:
    ends = {
        str(cluster): {int(partition): int(end) for partition, end in by.items()}
        for cluster, by in body["ends"].items()
    }
    skip, late = decode_spans(body.get("skip", {})), decode_spans(body.get("late", {}))
    return ClosedEpoch(Epoch(counter, str(body["cluster"])), ends, skip, late)


@dataclass(frozen=True, slots=True)
class Mark:
    """A living run's mark: the orchestrator's own id, and a beat that grows while it lives."""

    run: str
    owner: str
    beat: int

    def record(self, scope: str) -> tuple[bytes, bytes]:
        """Return key and value of the mark's record."""
        body = {"run": self.run, "owner": self.owner, "beat": self.beat}
        return encode_key("mark", scope), encode_value(body)


def mark_released(scope: str) -> tuple[bytes, None]:
    """Return the tombstone that ends a mark."""
    return encode_key("mark", scope), None


def run_record(scope: str, run: str, sequence: int, body: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return key and value of one journal entry."""
    return encode_key("run", scope, run, sequence), encode_value(body)


@dataclass(frozen=True, slots=True)
class View:
    """What one cluster's state topic (or several, merged) says about a scope.

    ``ledger`` maps topic, then epoch counter, to the closed epoch's ends. ``journal`` maps run,
    then sequence, to the entry's body.
    """

    state: State | None = None
    ledger: Mapping[str, Mapping[int, ClosedEpoch]] = field(default_factory=dict)
    journal: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    mark: Mark | None = None

    def of_topic(self, topic: str) -> Ledger:
        """Return the ledger of one logical topic. Requires a state."""
        if self.state is None:
            raise RecordFormatError("the scope has no state yet")
        return Ledger(self.state.epochs, self.ledger.get(topic, {}))


def fold(view: View, scope: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> View:
    """Return the view after more records of one cluster's state topic, in offset order.

    Records of other scopes or unknown kinds are ignored. Raises RecordFormatError on garbage, so
    that the caller decides; TooNewError when this version must not act.
    """
    for raw_key, raw_value in records:
        key = decode_key(raw_key)
        if len(key) > 1 and key[1] == scope:
            view = _fold_one(view, key, raw_value)
    return view


def _fold_one(view: View, key: tuple[Any, ...], raw: bytes | None) -> View:
    kind, scope = key[0], key[1]
    try:
        if kind == "mark":
            return replace(view, mark=_mark(raw))
        if raw is None:
            return _forget(view, key)
        if kind == "state":
            return replace(view, state=_state(scope, decode_value(raw)))
        if kind == "ledger":
            return _with_ledger(view, str(key[2]), _closed(int(key[3]), decode_value(raw)))
        if kind == "run":
            return _with_entry(view, str(key[2]), int(key[3]), decode_value(raw))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordFormatError(f"state record {key!r} is malformed: {error!r}") from error
    return view


def _mark(raw: bytes | None) -> Mark | None:
    if raw is None:
        return None
    body = decode_value(raw)
    return Mark(str(body["run"]), str(body["owner"]), int(body["beat"]))


def _forget(view: View, key: tuple[Any, ...]) -> View:
    """Apply a tombstone: journals of old runs and ledgers passed by retention are deleted."""
    if key[0] == "run":
        entries = {s: e for s, e in view.journal.get(key[2], {}).items() if s != key[3]}
        rest = {run: by for run, by in view.journal.items() if run != key[2]}
        return replace(view, journal={**rest, key[2]: entries} if entries else rest)
    if key[0] == "ledger":
        kept = {c: e for c, e in view.ledger.get(key[2], {}).items() if c != key[3]}
        return replace(view, ledger={**view.ledger, key[2]: kept})
    return view


def _with_ledger(view: View, topic: str, entry: ClosedEpoch) -> View:
    merged = merge_ledger(
        {topic: view.ledger.get(topic, {})}, {topic: {entry.epoch.counter: entry}}
    )
    return replace(view, ledger={**view.ledger, **merged})


def _with_entry(view: View, run: str, sequence: int, body: Mapping[str, Any]) -> View:
    entries = {**view.journal.get(run, {}), sequence: body}
    return replace(view, journal={**view.journal, run: entries})


LedgerOfTopics = Mapping[str, Mapping[int, ClosedEpoch]]


def merge_ledger(left: LedgerOfTopics, right: LedgerOfTopics) -> dict[str, dict[int, ClosedEpoch]]:
    """Return the union of two ledgers. An end is written once, so where both know it they agree.

    Spans behind an end may have been found one after the other.
    """
    result = {topic: dict(epochs) for topic, epochs in left.items()}
    for topic, epochs in right.items():
        into = result.setdefault(topic, {})
        for counter, entry in epochs.items():
            known = into.get(counter)
            ends = {**entry.ends, **(known.ends if known else {})}
            skip = join_spans(entry.skip, known.skip if known else {})
            late = join_spans(entry.late, known.late if known else {})
            into[counter] = ClosedEpoch(entry.epoch, ends, skip, late)
    return result


def merge(views: Iterable[View]) -> View:
    """Return what several clusters' views say together: the highest state, all ledgers and runs."""
    result = View()
    for view in views:
        newest = result.state
        if view.state and (newest is None or view.state.order > newest.order):
            newest = view.state
        journal = {run: dict(entries) for run, entries in result.journal.items()}
        for run, entries in view.journal.items():
            journal.setdefault(run, {}).update(entries)
        result = View(
            state=newest,
            ledger=merge_ledger(result.ledger, view.ledger),
            journal=journal,
            mark=view.mark or result.mark,
        )
    return result

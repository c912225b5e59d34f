"""The journal of a run: each entry is the whole run as it stood, so the last one resumes it.

Entries are written ahead: an entry with phase ``closing`` says that closing is about to be, or was,
written. Entry and state travel in one transaction where both change.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.skips import Skip
from clientlib.protocol.state import (
    Phase,
    State,
    View,
    decode_spans,
    encode_spans,
    run_record,
)
from clientlib.protocol.types import Epoch, Offset, Partition
from failover.core.estimate import Estimate
from failover.core.machine import Growth, Run, RunPhase
from failover.core.result import SwitchRequest

Body = Mapping[str, Any]
Record = tuple[bytes, bytes | None]
KEPT_RUNS = 50


def entry(run: Run) -> tuple[bytes, bytes]:
    """Return key and value of the journal entry for the run as it stands."""
    return run_record(run.scope, run.id, run.sequence, encode(run))


def encode(run: Run) -> dict[str, Any]:
    """Return the run as plain JSON values."""
    request = run.request
    return {
        "phase": run.phase.value,
        "request": {
            "to": request.to,
            "timeout_s": request.timeout_s,
            "expect_active": request.expect_active,
            "skip_clients": list(request.skip_clients),
            "tolerate_late": request.tolerate_late,
            "ignore": list(request.ignore),
            "emergency": request.emergency,
            "old_side_alive": request.old_side_alive,
            "allow_data_loss": request.allow_data_loss,
            "max_lost": request.max_lost,
        },
        "base": _encode_state(run.base),
        "topics": dict(run.topics),
        "owed": {topic: [_encode_closed(c) for c in rows] for topic, rows in run.owed.items()},
        "ends": _encode_offsets(run.ends),
        "copies": _encode_offsets(run.copies),
        "skips": encode_skips(run.skips),
        "times": dict(run.times),
        "committed_ms": run.committed_ms,
        "intent": run.intent,
        "pending": list(run.pending),
        "warnings": list(run.warnings),
        "growth": [[g.topic, g.partition, g.was, g.now] for g in run.growth],
        "cause": run.cause,
        "detail": run.detail,
        "estimate": list(run.estimate) if run.estimate is not None else None,
        "replayed": run.replayed,
        "lost": run.lost,
    }


def decode(scope: str, ident: str, sequence: int, body: Body) -> Run:
    """Take a journal entry apart. Raises RecordFormatError when it is malformed."""
    try:
        request = body["request"]
        return Run(
            id=ident,
            request=SwitchRequest(
                scope=scope,
                to=str(request["to"]),
                timeout_s=float(request["timeout_s"]),
                expect_active=str(request["expect_active"]),
                skip_clients=tuple(request["skip_clients"]),
                tolerate_late=bool(request["tolerate_late"]),
                ignore=tuple(request["ignore"]),
                run=ident,
                emergency=bool(request.get("emergency", False)),
                old_side_alive=bool(request.get("old_side_alive", False)),
                allow_data_loss=bool(request.get("allow_data_loss", False)),
                max_lost=request.get("max_lost"),
            ),
            base=_decode_state(scope, body["base"]),
            phase=RunPhase(body["phase"]),
            topics={str(t): int(n) for t, n in body["topics"].items()},
            owed={t: tuple(_decode_closed(c) for c in rows) for t, rows in body["owed"].items()},
            ends=_decode_offsets(body["ends"]),
            copies=_decode_offsets(body["copies"]),
            skips=decode_skips(body.get("skips", {})),
            times={str(name): int(at) for name, at in body["times"].items()},
            committed_ms=int(body.get("committed_ms", 0)),
            intent=bool(body["intent"]),
            pending=tuple(body["pending"]),
            warnings=tuple(body["warnings"]),
            growth=tuple(Growth(*row) for row in body["growth"]),
            cause=str(body["cause"]),
            detail=str(body["detail"]),
            estimate=Estimate(*body["estimate"]) if body.get("estimate") else None,
            replayed=int(body.get("replayed", 0)),
            lost=int(body.get("lost", 0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordFormatError(
            f"entry {sequence} of run {ident} is malformed: {error!r}"
        ) from error


def runs(view: View, scope: str) -> tuple[Run, ...]:
    """Return every run of the journal as it stood last, oldest first (run ids sort by time)."""
    return tuple(
        _last(scope, ident, entries) for ident, entries in sorted(view.journal.items()) if entries
    )


def unfinished(view: View, scope: str) -> Run | None:
    """Return the newest run if something remains to be done about it, else None.

    Ids say when a run began by the clock of its own machine: what runs were planned on comes first,
    and before all of it the run that the state names while writes are closed.
    """
    everything = {run.id: run for run in runs(view, scope)}
    if not everything:
        return None
    newest = max(everything.values(), key=lambda run: (run.base.order, run.id))
    if view.state is not None and view.state.phase is not Phase.ACTIVE:
        newest = everything.get(view.state.run, newest)
    return None if newest.finished else newest


def history(view: View, scope: str, ident: str) -> tuple[Run, ...]:
    """Return a run as it stood at each of its entries, oldest first."""
    entries = view.journal.get(ident, {})
    return tuple(decode(scope, ident, n, entries[n]) for n in sorted(entries))


def expired(view: View, scope: str) -> Iterable[Record]:
    """Yield the tombstones of all but the newest runs' entries, so that the journal stays small."""
    for ident in sorted(view.journal)[:-KEPT_RUNS]:
        for sequence in view.journal[ident]:
            yield run_record(scope, ident, sequence, {})[0], None


def _last(scope: str, ident: str, entries: Mapping[int, Body]) -> Run:
    newest = max(entries)
    return decode(scope, ident, newest, entries[newest])


def _encode_state(state: State) -> dict[str, Any]:
    return {
        "epochs": [list(epoch) for epoch in state.epochs],
        "revision": state.revision,
        "clusters": dict(state.clusters),
        "unplanned": list(state.unplanned),
    }


def _decode_state(scope: str, body: Body) -> State:
    epochs = tuple(Epoch(int(counter), str(cluster)) for counter, cluster in body["epochs"])
    return State(
        scope,
        epochs,
        int(body["revision"]),
        Phase.ACTIVE,
        clusters=dict(body["clusters"]),
        unplanned=tuple(body.get("unplanned", ())),
    )


def _encode_closed(entry: ClosedEpoch) -> dict[str, Any]:
    ends = {c: {str(p): end for p, end in by.items()} for c, by in entry.ends.items()}
    return {
        "epoch": list(entry.epoch),
        "ends": ends,
        "skip": encode_spans(entry.skip),
        "late": encode_spans(entry.late),
    }


def _decode_closed(body: Body) -> ClosedEpoch:
    counter, cluster = body["epoch"]
    ends = {c: {int(p): int(end) for p, end in by.items()} for c, by in body["ends"].items()}
    skip, late = decode_spans(body.get("skip", {})), decode_spans(body.get("late", {}))
    return ClosedEpoch(Epoch(int(counter), str(cluster)), ends, skip, late)


def _spans(raw: Iterable[Iterable[int]]) -> Skip:
    return tuple((int(first), int(end)) for first, end in raw)


def encode_skips(skips: Mapping[Partition, Skip]) -> dict[str, dict[str, list[list[int]]]]:
    """Return spans by partition as plain JSON values."""
    by_topic: dict[str, dict[str, list[list[int]]]] = {}
    for (topic, number), spans in sorted(skips.items()):
        by_topic.setdefault(topic, {})[str(number)] = [list(span) for span in spans]
    return by_topic


def decode_skips(body: Body) -> dict[Partition, Skip]:
    """Take apart what `encode_skips` made."""
    return {
        Partition(str(topic), int(number)): _spans(spans)
        for topic, by in body.items()
        for number, spans in by.items()
    }


def _encode_offsets(offsets: Mapping[Partition, Offset]) -> dict[str, dict[str, int]]:
    by_topic: dict[str, dict[str, int]] = {}
    for (topic, number), offset in sorted(offsets.items()):
        by_topic.setdefault(topic, {})[str(number)] = offset
    return by_topic


def _decode_offsets(body: Body) -> dict[Partition, Offset]:
    return {
        Partition(str(topic), int(number)): int(offset)
        for topic, by in body.items()
        for number, offset in by.items()
    }

"""Where an unfinished run goes on: at the phase that the clusters' state shows."""

from collections.abc import Mapping
from dataclasses import replace

from clientlib.protocol.state import Phase, State, View, merge
from clientlib.protocol.types import ClusterAlias
from failover.core import publish
from failover.core.machine import Run, RunPhase


def taken_up(
    old: Run,
    views: Mapping[ClusterAlias, View],
    gone: ClusterAlias,
    *,
    now_ms: int,
    abort: bool,
) -> Run:
    """Return an unfinished run where the state says that it stands.

    Committed: go on. Intent: complete it (or undo it, if asked to abort). Else: undo it. ``gone``
    is given up and not asked.
    """
    merged = merge(views.values())
    state = merged.state
    times = {**old.times, RunPhase.CLOSING.value: old.times.get("closing", now_ms)}
    if state is None or state.epoch.counter > old.epoch.counter:
        return replace(old, phase=RunPhase.DONE)
    if publish.shows_commit(old, merged):
        # its time starts anew, and writes have been open for long
        since = old.committed_ms or old.times.get(RunPhase.MOVING.value, 0)
        return replace(old, phase=RunPhase.MOVING, committed_ms=since, cause="", pending=())
    home = _at_home(old, views)
    if state.phase is Phase.ACTIVE and (old.witness == gone or _open(home, state)):
        return replace(old, phase=RunPhase.UNDONE, cause=old.cause or "resumed")
    stands = home is not None and home.phase is Phase.INTENT  # where it counts: the old side
    if state.phase is Phase.INTENT and stands and not abort:
        times[RunPhase.CLOSING.value] = now_ms  # its time starts anew
        return replace(old, phase=RunPhase.RESOLVING, times=times, intent=True, cause="")
    cause = "aborted" if abort else "resumed"
    intent = old.intent or state.phase is Phase.INTENT
    return replace(old, phase=RunPhase.UNDOING, times=times, intent=intent, cause=cause)


def _at_home(old: Run, views: Mapping[ClusterAlias, View]) -> State | None:
    view = views.get(old.witness)
    return view.state if view is not None else None


def _open(home: State | None, state: State) -> bool:
    """Say whether writes are open where it counts, on the old side itself.

    An undo is written to both sides, and one of them may have been away.
    """
    return home is not None and home.phase is Phase.ACTIVE and home.order >= state.order

"""What an unplanned switch makes of a planned one that was under way when a cluster was lost.

Where the lost cluster was the **target** and the intent stands on the other side, the commit may
stand on the lost cluster, where nobody can ask. It is presumed: the ends of the epoch are decided
in the run's journal, so writing its commit here says nothing that the lost cluster could contradict
when it returns. If it did not commit, its epoch is simply empty.

Where it was the **source** and the target shows no commit, none can come any more: the run is left
behind, and the unplanned switch begins from the state that it had closed.

Where it was the source and the target is active already, groups may wait for commits that the lost
cluster was still to take. Then the epoch is declared unplanned after the fact: the same epoch, one
revision later.
"""

from dataclasses import replace
from enum import StrEnum

from clientlib.protocol.state import Phase, State, View
from clientlib.protocol.types import ClusterAlias
from failover.core import publish
from failover.core.machine import Run


class Remedy(StrEnum):
    """What is done about an unfinished run of which one side is lost."""

    TAKE_UP = "take up"
    PRESUME_COMMIT = "presume the commit"
    LEAVE = "leave behind"


def gone(state: State, to: ClusterAlias) -> ClusterAlias:
    """Return the cluster that an unplanned switch to ``to`` gives up; empty for none."""
    if state.active != to:
        return state.active
    if state.phase is not Phase.ACTIVE:
        return state.target
    return state.epochs[-2].cluster if declares(state, to) else ""


def declares(state: State | None, to: ClusterAlias) -> bool:
    """Say whether an unplanned switch to the active cluster gives up the one before it.

    Its epoch must have begun by plan: only then may anybody still wait for that one.
    """
    if state is None or state.active != to or state.phase is not Phase.ACTIVE:
        return False
    return len(state.epochs) > 1 and state.epoch.counter not in state.unplanned


def declared(state: State, run: str) -> State:
    """Return the state in which the cluster before the current epoch is given up."""
    counters = (*state.unplanned, state.epoch.counter)
    return replace(state, revision=state.revision + 1, run=run, unplanned=counters)


def remedy(old: Run, merged: View, lost: ClusterAlias) -> Remedy:
    """Say what to do about an unfinished run, by what the clusters that are left show."""
    if publish.shows_commit(old, merged):
        return Remedy.LEAVE if lost == old.target else Remedy.TAKE_UP
    if lost == old.target and not old.request.emergency:
        stands = merged.state is not None and merged.state.phase is Phase.INTENT
        return Remedy.PRESUME_COMMIT if stands else Remedy.TAKE_UP
    planned = not old.request.emergency
    return Remedy.LEAVE if planned and lost == old.source else Remedy.TAKE_UP

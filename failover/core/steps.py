"""The steps of a planned switch: what each does, how it is undone, which one cannot be.

The order is the promise: what could refuse comes first, what closes writes comes late, the one step
that cannot be undone comes when everything before it has been proved.
"""

from dataclasses import dataclass

from clientlib.protocol.types import ClusterAlias


@dataclass(frozen=True, slots=True)
class Step:
    """One idempotent act. ``closed``: production writes are closed while it lasts."""

    name: str
    what: str
    undo: str = "nothing to undo"
    closed: bool = False
    irreversible: bool = False

    def sentence(self, source: ClusterAlias, target: ClusterAlias) -> str:
        """Return the operator's sentence with the clusters' aliases filled in."""
        return self.what.format(source=source, target=target)


_REOPEN = "writes reopen on the old side, same epoch"

PLANNED: tuple[Step, ...] = (
    Step("lock", "take the scope: fence older runs on every reachable cluster", "released"),
    Step("preflight", "check both clusters, MirrorMaker 2 and every registered client"),
    Step("prepare", "create missing topics and copies, align the ends of older epochs"),
    Step("close", "ask the producers on {source} to finish and hold their records", _REOPEN, True),
    Step("quiesce", "wait until every registered producer has flushed", _REOPEN, True),
    Step("ends", "read where each log on {source} ends", _REOPEN, True),
    Step("copy", "wait until {target} holds every record up to there", _REOPEN, True),
    Step("confirm", "read the ends once more: nobody wrote meanwhile", _REOPEN, True),
    Step("intent", "write the intent on {source}", _REOPEN, True),
    Step(
        "commit",
        "make {target} active: the point of no return",
        "cannot be undone; a switch back is a switch of its own",
        closed=True,
        irreversible=True,
    ),
    Step("move", "wait until every live group has moved to {target}", "cannot be undone"),
    Step("verify", "compare the boundaries and look for late writes on {source}"),
)
"""The steps of a planned switch and of a failback, in order."""

EMERGENCY: tuple[Step, ...] = (
    Step("lock", "take the scope: fence older runs on {target}", "released"),
    Step("preflight", "check that {source} is gone and {target} is fit, estimate what may be lost"),
    Step("prepare", "create missing topics on {target}"),
    Step("close", "tell every client that reaches {target} to stop writing to {source}", _REOPEN),
    Step("settle", "wait until MirrorMaker 2 writes nothing more to {target}", _REOPEN, True),
    Step("intent", "write the intent on {target}", _REOPEN, True),
    Step(
        "commit",
        "make {target} active from where its copies end: the point of no return",
        "cannot be undone; when {source} is back, `failover failback` returns",
        closed=True,
        irreversible=True,
    ),
    Step("move", "wait until every live group has moved to {target}", "cannot be undone"),
    Step("verify", "wait until producers have written again what the copies lack"),
)
"""The steps of an unplanned switch: nothing is asked of the cluster that is lost."""

DECLARATION: tuple[Step, ...] = (
    Step("lock", "take the scope: fence older runs on {target}", "released"),
    Step(
        "give up",
        "tell every group that {source} will not release it: what its members reported counts",
        "cannot be undone",
        irreversible=True,
    ),
    Step("move", "wait until every live group has moved to {target}", "cannot be undone"),
)
"""The steps when the target is active already, but groups may still wait for a lost cluster."""


def steps_of(*, emergency: bool) -> tuple[Step, ...]:
    """Return the steps of a planned or of an unplanned switch."""
    return EMERGENCY if emergency else PLANNED

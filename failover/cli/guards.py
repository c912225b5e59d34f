"""What a command needs before it can begin; a refusal changes nothing."""

import difflib
from collections.abc import Iterable
from typing import NoReturn

from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Settings
from failover.cli.errors import RefusedError
from failover.core.findings import IDS, NEVER_IGNORED
from failover.core.result import ExitCode
from failover.core.snapshot import Snapshot

_INSTEAD = {
    "old-side-alive": "`--emergency --old-side-alive` insists",
    "rogue-writer": "`--tolerate-late` goes on although somebody still writes to the old side",
}
"""What to do where one can go on despite a finding by an option of its own."""


def active(snapshot: Snapshot) -> ClusterAlias:
    """Return the active cluster.

    Raises ClusterUnreachableError when no cluster answers, RefusedError when nobody has said yet
    which cluster is active.
    """
    if not snapshot.reachable:
        raise ClusterUnreachableError(
            "; ".join(cluster.error for cluster in snapshot.clusters.values())
        )
    if snapshot.view.state is None:
        _not_initialised(snapshot)
    return snapshot.view.state.active


def _not_initialised(snapshot: Snapshot) -> NoReturn:
    silent = [c.error for c in snapshot.clusters.values() if not c.reachable]
    if silent:
        raise ClusterUnreachableError(
            f"no cluster that answers holds a state of scope {snapshot.scope!r}, "
            f"and {'; '.join(silent)}"
        )
    missing = sorted({t for c in snapshot.clusters.values() for t in c.missing_control})
    why = f"no cluster has {' and '.join(missing)}" if missing else "no first epoch is written"
    raise RefusedError(
        f"scope {snapshot.scope!r} is not initialised: {why}",
        f"failover init --active {next(iter(snapshot.clusters))}",
    )


def needed(snapshot: Snapshot, *aliases: ClusterAlias) -> None:
    """Raise ClusterUnreachableError unless these clusters answer."""
    silent = [c.error for a in aliases if not (c := snapshot.clusters[a]).reachable]
    if silent:
        raise ClusterUnreachableError("; ".join(silent))


def target(settings: Settings, alias: str) -> ClusterAlias:
    """Return the alias if it is configured. Raises ConfigurationError with a suggestion."""
    return settings.cluster(alias).alias


def newest_run(snapshot: Snapshot) -> str:
    """Return the id of the newest run. Raises RefusedError when there was none."""
    if not snapshot.view.journal:
        raise RefusedError("no run has been journalled yet", "failover switch --to ALIAS")
    return max(snapshot.view.journal)


def unknown_run(snapshot: Snapshot, ident: str) -> NoReturn:
    """Raise RefusedError (exit code 2) that suggests the run which was probably meant."""
    told = f"no run {ident!r} in the journal{_meant(ident, snapshot.view.journal)}"
    raise RefusedError(told, "failover history", ExitCode.USAGE)


def ignorable(ident: str) -> None:
    """Raise RefusedError (exit code 2) unless there is such a finding to go on despite."""
    if ident in NEVER_IGNORED:
        remedy = _INSTEAD.get(ident, "do what the finding says; `failover preflight` shows it")
        raise RefusedError(f"nobody can go on despite {ident}", remedy, ExitCode.USAGE)
    if ident not in IDS:
        told = f"no finding is called {ident!r}{_meant(ident, IDS - NEVER_IGNORED)}"
        raise RefusedError(told, "`failover preflight` names the findings", ExitCode.USAGE)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""

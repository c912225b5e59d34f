"""Looks at records where the offsets of a snapshot do not say what a switch must know."""

from dataclasses import replace

from clientlib.protocol.naming import Naming
from failover.core import stranded
from failover.core.result import SwitchRequest
from failover.core.snapshot import Snapshot
from failover.held import Held
from failover.io.ports import Ports
from failover.survivors import Survivors


class Survey:
    """Completes a snapshot for a request; what cannot be read is said to be unknown."""

    def __init__(self, naming: Naming, ports: Ports) -> None:
        self._held = Held(naming, ports)
        self._survivors = Survivors(naming, ports.reader)

    def __call__(self, snapshot: Snapshot, request: SwitchRequest) -> Snapshot:
        """Return the snapshot with what records say."""
        state = snapshot.view.state
        if state is None or not snapshot.clusters[request.to].reachable:
            return snapshot
        if request.emergency:
            lost = stranded.gone(state, request.to)
            if not lost or stranded.declares(state, request.to):
                return snapshot
            return replace(snapshot, leads=self._survivors.leads(snapshot, lost, request.to))
        if state.active == request.to:
            return snapshot
        return replace(snapshot, oldest=self._held.oldest(snapshot, state.active, request.to))

"""The lab as it was observed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """Whether MirrorMaker 2 runs."""

    pid: int | None
    alive: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One cluster as it is now: a paused broker is alive and not reachable."""

    alias: str
    bootstrap: str
    pid: int | None
    alive: bool
    reachable: bool


@dataclass(frozen=True, slots=True)
class LabStatus:
    """The whole lab as it is now; ``mm2`` is None for a lab without MirrorMaker 2."""

    directory: str
    clusters: tuple[ClusterStatus, ...]
    mm2: ProcessStatus | None

    @property
    def healthy(self) -> bool:
        """Whether every cluster answers and MirrorMaker 2 runs."""
        return all(cluster.reachable for cluster in self.clusters) and (
            self.mm2 is None or self.mm2.alive
        )

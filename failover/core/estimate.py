"""What an unplanned switch may lose, as far as the surviving cluster can tell."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clientlib.protocol.clients import Registration, Role
from clientlib.protocol.types import ClusterAlias


class Estimate(NamedTuple):
    """At most ``records`` are lost or late (None: nobody can say), and where that comes from."""

    records: int | None
    source: str

    @property
    def most(self) -> str:
        """The number, for a sentence."""
        return "unknown" if self.records is None else f"at most {self.records:,}"


class Elsewhere(NamedTuple):
    """Records that ``ahead`` clusters hold and the target lacks, by their copies.

    ``silent`` ones could not be asked, ``unsure`` ones not compared.
    """

    records: int = 0
    ahead: tuple[ClusterAlias, ...] = ()
    silent: tuple[ClusterAlias, ...] = ()
    unsure: tuple[ClusterAlias, ...] = ()


NOWHERE = Elsewhere()
PROVED = Estimate(0, "the planned switch before has proved that the copies are complete")


class Outlook(NamedTuple):
    """What an unplanned switch is up to before it begins.

    ``answers``: the cluster that is to be given up does. ``accepted``: what may be lost is.
    """

    answers: bool
    estimate: Estimate
    accepted: bool


FORGOTTEN_MS = 3_600_000
"""What a producer wrote that ended so long before its cluster has been copied."""


def estimate(
    clients: Mapping[str, Registration],
    now_ms: int,
    others: Elsewhere = NOWHERE,
    heard_ms: int = 0,
) -> Estimate:
    """Return what may be lost, by the producers that are registered on the surviving cluster.

    A living producer writes again what the copies lack, except for what its buffer had to give up.
    Of one that does not live nobody can say what it wrote last. What another surviving cluster has
    confirmed (``others``) no producer keeps, so that the target lacks it for good. ``heard_ms``:
    when the lost cluster's last heartbeat was copied, 0 if nobody knows; who had ended long before
    is not counted.
    """
    return _with(_by_producers(clients, now_ms, heard_ms), others)


def _with(found: Estimate, others: Elsewhere) -> Estimate:
    told = []
    if others.records:
        told.append(
            f"{', '.join(others.ahead)} holds {others.records:,} records that the target lacks, "
            "and producers may not keep them any more"
        )
    if others.silent:
        told.append(f"{', '.join(others.silent)} may hold records that no producer keeps, and "
                    "does not answer")  # fmt: skip
    if others.unsure:
        told.append(f"copies on {', '.join(others.unsure)} could not be compared with the target's")
    known = found.records is not None and not (others.silent or others.unsure)
    records = found.records + others.records if known and found.records is not None else None
    return Estimate(records, "; ".join((found.source, *told)))


def _by_producers(clients: Mapping[str, Registration], now_ms: int, heard_ms: int) -> Estimate:
    since_ms = heard_ms - FORGOTTEN_MS
    everybody = [r for r in clients.values() if r.client.role is Role.PRODUCER]
    producers = [r for r in everybody if not r.expired(now_ms) or r.renewed_ms > since_ms]
    living = [r for r in producers if not r.expired(now_ms)]
    dead = [r for r in producers if r.expired(now_ms)]
    if not producers:
        return Estimate(
            None, "no wrapped producer is registered: nobody can say what it wrote last"
        )
    if dead:
        return Estimate(None, f"{_names(dead)} lived until shortly before and cannot write again")
    lacking = sum(r.client.at_risk for r in living)
    return Estimate(
        lacking,
        f"{len(living)} living producer(s) will write again what the copies lack; "
        f"{lacking:,} records are not in their buffers any more",
    )


def _names(registrations: Iterable[Registration]) -> str:
    names = sorted(r.client.id for r in registrations)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - a short list
    return ", ".join(names[:3]) + more


def acceptable(found: Estimate, *, allowed: bool, most: int | None) -> bool:
    """Say whether the operator has accepted what may be lost."""
    if most is not None:
        return found.records is not None and found.records <= most
    return allowed

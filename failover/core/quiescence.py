"""Whether every producer has handed over all that it took before a switch closed writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clientlib.protocol.clients import Client, Registration, Role
from clientlib.protocol.state import State

Order = tuple[int, int]
"""Epoch counter and revision of a state."""


@dataclass(frozen=True, slots=True)
class Producers:
    """What the registrations say of a scope's producers.

    ``writing``: those that live and are not known to be quiet. ``gone``: those that have stopped
    renewing, wherever they were registered; nobody waits for them.
    """

    writing: tuple[Client, ...] = ()
    gone: tuple[Client, ...] = ()


def quiescence(
    clusters: Iterable[Mapping[str, Registration]],
    closing: Order,
    now_ms: int,
    unplanned: int = 0,
) -> Producers:
    """Judge producers by their registrations on several clusters.

    One that renews anywhere is alive: a cluster that was out of reach for longer than a
    registration lives has none that is fresh, and what its producers hold comes when it is back.
    Quiet is who says so on any cluster, for a state at least as new as ``closing``. Not so who has
    yet to write again what the epoch ``unplanned`` began without.
    """
    by_id: dict[str, list[Registration]] = {}
    for registered in clusters:
        for ident, one in registered.items():
            if one.client.role is Role.PRODUCER:
                by_id.setdefault(ident, []).append(one)
    writing, gone = [], []
    for _, ones in sorted(by_id.items()):
        newest = max(ones, key=lambda one: one.renewed_ms).client
        if all(one.expired(now_ms) for one in ones):
            gone.append(newest)
        elif newest.replayed < unplanned or not any(_quiet(one.client, closing) for one in ones):
            writing.append(newest)
    return Producers(tuple(writing), tuple(gone))


def replayed_into(state: State) -> int:
    """Return the counter of the open epoch if it began without its predecessor's end, else 0."""
    return state.epoch.counter if state.epoch.counter in state.unplanned else 0


def replaying(registered: Iterable[Registration], epoch: int, now_ms: int) -> list[Client]:
    """Return the living producers that have yet to write again what an unplanned epoch lacks."""
    producers = (one for one in registered if one.client.role is Role.PRODUCER)
    alive = (one.client for one in producers if not one.expired(now_ms))
    return [client for client in alive if client.replayed < epoch]


def _quiet(client: Client, closing: Order) -> bool:
    return client.quiesced and (client.seen.epoch, client.seen.revision) >= closing

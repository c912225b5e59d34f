"""Deliberately wrong variants: each must be caught by the checkers within some seeds.

Each is a context manager that patches real functions (or, for what Kafka itself guarantees, the
fake coordinator) while a simulation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from clientlib.core import duty as duties
from clientlib.core.duty import Duty, Read, Take, Vector
from clientlib.core.tracker import Span
from clientlib.io.runtime import Runtime
from clientlib.protocol import ledger as ledgers
from clientlib.protocol import token as tokens
from failover.acts import Acts
from failover.core.machine import (
    EndsConfirmed,
    Event,
    IntentAcknowledged,
    ProducersQuiesced,
    Run,
)
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.world import LEFT, RIGHT

if TYPE_CHECKING:
    from clientlib.protocol.token import Token
    from clientlib.protocol.types import Epoch, Position

Mutant = Callable[[], AbstractContextManager[Any]]


def gate_one_record_early() -> AbstractContextManager[Any]:
    """The next epoch opens when one record of this one is still missing."""
    real = ledgers.gate

    def early(ledger: ledgers.Ledger, position: Position, partition: int) -> ledgers.Read:
        read = real(ledger, position, partition)
        while read.end is not None and read.at >= read.end - 1:
            offsets = {**position.offsets, read.origin: read.end}
            position = replace(position, offsets=offsets)
            read = real(ledger, position, partition)
        return read if read.end is None else replace(read, end=read.end - 1)

    return patch.object(ledgers, "gate", early)


def gate_ignores_the_end() -> AbstractContextManager[Any]:
    """An epoch's log is read on beyond its end."""
    real = ledgers.gate
    return patch.object(ledgers, "gate", lambda *a: replace(real(*a), end=None))


def token_ignored() -> AbstractContextManager[Any]:
    """The active cluster's own commits count, whatever their token says."""
    real = duties.duty

    def own(
        me: str, epochs: tuple[Epoch, ...], vectors: Mapping[str, Vector | None], *more: Any
    ) -> Duty:
        mine = vectors.get(me)
        if mine is not None and mine.commits and me == epochs[-1].cluster:
            return Read()
        return real(me, epochs, vectors, *more)

    return patch.object(duties, "duty", own)


def handover_is_pushed() -> AbstractContextManager[Any]:
    """Home's owner writes the release with the token of the new active cluster."""
    real = tokens.encode

    def push(token: Token, user: str = "", **more: Any) -> str:
        active = LEFT if token.epoch % 2 else RIGHT  # two clusters, LEFT first
        return real(replace(token, cluster=active), user, **more)

    return patch.object(tokens, "encode", push)


def no_generation_fencing() -> AbstractContextManager[Any]:
    """Commits of removed members and passed generations are taken: two members write one vector."""

    def commit(
        self: Group, ident: str, generation: int, items: list[tuple[str, int, int, str]]
    ) -> None:
        for topic, number, offset, metadata in items:
            self.commits[topic, number] = (offset, metadata)

    return patch.object(Group, "commit", commit)


def ends_read_before_quiesce() -> AbstractContextManager[Any]:
    """The ends are read, and believed, while producers still flush."""

    def quiesce(self: Acts, run: Run) -> Event:
        return ProducersQuiesced()

    def confirm(self: Acts, run: Run) -> Event:
        return EndsConfirmed()

    return together(
        patch.object(Acts, "_quiesce", quiesce), patch.object(Acts, "_confirm", confirm)
    )


def commit_before_intent() -> AbstractContextManager[Any]:
    """The commit is written though no intent stands on the old side, and the tool dies then."""

    def intend(self: Acts, run: Run) -> Event:
        return IntentAcknowledged()

    often = patch.object(Faults, "commit_crash", 0.5)
    return together(patch.object(Acts, "_intend", intend), often)


def taken_past_the_released_cluster() -> AbstractContextManager[Any]:
    """The active cluster takes from home, though home has released to another one."""
    real = duties._decided_together

    def directly(me: str, epochs: tuple[Epoch, ...], vectors: Mapping[str, Vector]) -> Duty:
        home = duties.home_of(vectors, epochs)
        if home is not None and me == epochs[-1].cluster != home.cluster:
            return Take(home.cluster)
        return real(me, epochs, vectors)

    return patch.object(duties, "_decided_together", directly)


def late_commit_accepted() -> AbstractContextManager[Any]:
    """An offset that this member was never given can be committed."""
    return patch.object(Span, "accepts", lambda self, offset: True)


def repeats_ignored() -> AbstractContextManager[Any]:
    """What MM2 has sent twice is read twice."""
    return patch.object(ledgers.Ledger, "skipped", lambda self, *a: ())


def held_partitions_begun_again() -> AbstractContextManager[Any]:
    """An assignment without a revoke before it begins at what is committed."""
    return patch.object(Runtime, "_give_up_held", lambda self, *a: None)


def together(*patches: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for one in patches:
        stack.enter_context(one)
    return stack


MUTANTS: Mapping[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        gate_one_record_early,
        gate_ignores_the_end,
        token_ignored,
        handover_is_pushed,
        no_generation_fencing,
        ends_read_before_quiesce,
        commit_before_intent,
        taken_past_the_released_cluster,
        late_commit_accepted,
        repeats_ignored,
        held_partitions_begun_again,
    )
}

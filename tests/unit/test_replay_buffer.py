"""The producer's replay buffer: what ages, and what the copies lack."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.replay_buffer import Kept, ReplayBuffer
from clientlib.io.copies import CopyProbe
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming


def kept(offset: int) -> Kept:
    """Return an acknowledged record."""
    return Kept("T", 0, offset, b"v", b"k", 1000 + offset)


def test_an_outage_longer_than_the_buffer_s_seconds_gives_nothing_up() -> None:
    """The operator may decide late: a dead cluster copies nothing, so nothing may be forgotten."""
    buffer = ReplayBuffer(60.0, 1 << 20)
    buffer.fresh.append(kept(0))
    buffer.gather(10.0)
    buffer.gather(500.0)
    assert (len(buffer.records()[("T", 0)]), buffer.at_risk) == (1, 0)


def test_while_records_are_reported_old_ones_are_given_up() -> None:
    buffer = ReplayBuffer(60.0, 1 << 20)
    for offset, at in enumerate((10.0, 40.0, 75.0)):
        buffer.fresh.append(kept(offset))
        buffer.gather(at)
    assert [one.offset for one in buffer.records()[("T", 0)]] == [1, 2]
    assert buffer.at_risk == 1


def test_a_log_that_comes_back_without_its_end_takes_records_at_offsets_that_it_had() -> None:
    """Who has not heard of the loss writes on; 8 records that only it had were forgotten."""
    buffer = ReplayBuffer(60.0, 1 << 20)
    for at, offsets in enumerate(((7, 8, 9), (3, 4))):
        buffer.fresh.extend(kept(offset) for offset in offsets)
        buffer.gather(float(at))
        if at == 0:
            buffer.confirm({("T", 0): 9})
    found = buffer.records()[("T", 0)]
    assert [one.offset for one in found] == [7, 8, 9, 3, 4]
    # a group that had read up to 10 has not had the last two: their replays name no offset
    assert [one.origin_offset for one in found] == [7, 8, 9, None, None]


def probe_of(code: int) -> CopyProbe:
    naming = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))
    probe = CopyProbe({}, naming, "LEFT", "RIGHT")

    def bounds(alias: str, tp: TopicPartition) -> Any:
        raise KafkaException(KafkaError(code))

    probe._logs = SimpleNamespace(bounds=bounds)  # type: ignore[assignment]  # only what is asked
    return probe


def test_a_topic_that_the_mirror_has_not_created_yet_lacks_everything() -> None:
    """Else the producer would ask for ever, and write nothing to any topic."""
    probe = probe_of(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert probe.tail(("T", 0), [kept(0)], 5) == ([], 0)


def test_a_copy_that_cannot_be_read_does_not_count_as_empty() -> None:
    with pytest.raises(KafkaException):
        probe_of(KafkaError.TOPIC_AUTHORIZATION_FAILED).tail(("T", 0), [kept(0)], 5)


def test_a_cluster_is_lost_while_a_standby_is_asked_what_it_holds() -> None:
    """Both ask by one handle, which would have read for the one what the other wanted."""
    probe = probe_of(KafkaError.UNKNOWN_TOPIC_OR_PART)
    inside: list[str] = []
    rescue = threading.Thread(target=lambda: probe.tail(("U", 0), [kept(0)], 5))

    def bounds(_alias: str, tp: TopicPartition) -> Any:
        inside.append(tp.topic)
        if len(inside) == 1:
            rescue.start()
            rescue.join(0.2)
        inside.append(tp.topic)
        raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))

    probe._logs = SimpleNamespace(bounds=bounds)  # type: ignore[assignment]  # only what is asked
    assert probe.confirm({("T", 0): kept(0)}) == {}
    rescue.join(10)
    assert inside == ["LEFT.T", "LEFT.T", "LEFT.U", "LEFT.U"]

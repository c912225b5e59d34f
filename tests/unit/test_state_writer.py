"""What a state writer makes of librdkafka's answers that no cluster gives at will."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.protocol.errors import FencedError
from clientlib.settings import Cluster, Control
from failover.io import state_store
from failover.io.ports import Status
from failover.io.state_store import Writer


class Producer:
    """confluent-kafka's Producer, whose commit and abort end as told."""

    def __init__(self, commit: KafkaError, abort: KafkaError) -> None:
        self._commit, self._abort = commit, abort

    def init_transactions(self, _timeout_s: float) -> None:
        """Succeeds."""

    def begin_transaction(self) -> None:
        """Succeeds."""

    def produce(self, *_: Any, **__: Any) -> None:
        """Succeeds."""

    def commit_transaction(self, _timeout_s: float) -> None:
        raise KafkaException(self._commit)

    def abort_transaction(self, _timeout_s: float) -> None:
        raise KafkaException(self._abort)


def writer(monkeypatch: pytest.MonkeyPatch, commit: KafkaError, abort: int) -> Writer:
    made = Producer(commit, KafkaError(abort))
    monkeypatch.setattr(state_store, "Producer", lambda _conf: made)
    monkeypatch.setattr(state_store, "_WARM_S", 0.0)
    found = Writer(Cluster("LEFT", {"bootstrap.servers": "h:1"}), Control("failover"), "s", 1.0)
    assert found.acquire().done
    return found


ABORTABLE = KafkaError(KafkaError.UNKNOWN, "unknown", False, False, True)


def test_who_is_fenced_while_it_commits_hears_so_and_not_that_the_cluster_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kafka 4.3.1 answers such a commit with UNKNOWN_SERVER_ERROR; only the abort says why."""
    fenced = writer(monkeypatch, ABORTABLE, KafkaError._FENCED)
    for _ in range(2):
        with pytest.raises(FencedError):
            fenced.write([(b"k", b"v")])


def test_an_abort_that_fails_otherwise_leaves_the_outcome_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = writer(monkeypatch, ABORTABLE, KafkaError._TIMED_OUT)
    assert lost.write([(b"k", b"v")]).status is Status.UNKNOWN
    assert "acquire first" in lost.write([(b"k", b"v")]).why

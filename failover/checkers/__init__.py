"""Checkers: pure functions over a history of sends, acknowledgements, deliveries and commits.

One function per anomaly, defined in its docstring; ``judge`` runs them all. Demo, simulation and
integration tests use the same ones. Records are known by (producer, sequence number), not by
offset: a record has another offset on each cluster.
"""

from failover.checkers.anomalies import Anomaly, Expected, Kind, Place
from failover.checkers.events import (
    Aborted,
    Acked,
    ClusterLost,
    Committed,
    ConsumerCrashed,
    ConsumerStalled,
    ConsumerStarted,
    Delivered,
    EpochSeen,
    Event,
    Revoked,
    SendFailed,
    Sent,
    decode,
    encode,
)
from failover.checkers.history import History, Log
from failover.checkers.order import (
    conflicting_offset,
    epoch_going_back,
    out_of_order,
    split_epoch,
    two_active_writers,
)
from failover.checkers.pauses import (
    Distribution,
    ReadPause,
    WritePause,
    distribution,
    read_pauses,
    write_pauses,
)
from failover.checkers.records import (
    aborted_read,
    acknowledged_twice,
    lost,
    phantom,
    repeated,
    skipped,
)
from failover.checkers.verdict import Unknown, Verdict, judge

__all__ = [
    "Aborted",
    "Acked",
    "Anomaly",
    "ClusterLost",
    "Committed",
    "ConsumerCrashed",
    "ConsumerStalled",
    "ConsumerStarted",
    "Delivered",
    "Distribution",
    "EpochSeen",
    "Event",
    "Expected",
    "History",
    "Kind",
    "Log",
    "Place",
    "ReadPause",
    "Revoked",
    "SendFailed",
    "Sent",
    "Unknown",
    "Verdict",
    "WritePause",
    "aborted_read",
    "acknowledged_twice",
    "conflicting_offset",
    "decode",
    "distribution",
    "encode",
    "epoch_going_back",
    "judge",
    "lost",
    "out_of_order",
    "phantom",
    "read_pauses",
    "repeated",
    "skipped",
    "split_epoch",
    "two_active_writers",
    "write_pauses",
]

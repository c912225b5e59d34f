"""Names as MirrorMaker 2 makes them, and the alias check that it lacks."""

import pytest

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.naming import (
    DefaultReplicationPolicy,
    IdentityReplicationPolicy,
    Naming,
)

DEFAULT = DefaultReplicationPolicy()
NAMING = Naming(DEFAULT, ["LEFT", "RIGHT"])


@pytest.mark.parametrize(
    ("topic", "source", "upstream", "original"),
    [
        ("orders", None, None, "orders"),
        ("LEFT.orders", "LEFT", "orders", "orders"),
        ("LEFT.X.orders", "LEFT", "X.orders", "orders"),
        ("orders.eu", "orders", "eu", "eu"),
        ("LEFT.", None, None, "LEFT."),
        ("LEFT..", None, None, "LEFT.."),
        (".", None, None, "."),
    ],
)
def test_default_policy_takes_names_apart(
    topic: str, source: str | None, upstream: str | None, original: str
) -> None:
    assert DEFAULT.topic_source(topic) == source
    assert DEFAULT.upstream_topic(topic) == upstream
    assert DEFAULT.original_topic(topic) == original


@pytest.mark.parametrize(
    ("topic", "internal"),
    [
        ("__consumer_offsets", True),
        (".hiddentopic", True),
        ("mm2-offsets.CLUSTER.internal", True),
        ("mm2-offsets-CLUSTER-internal", True),
        ("mm2-offsets_CLUSTER_internal", False),
        ("failover-state.internal", True),
        ("orders", False),
    ],
)
def test_internal_topics(topic: str, internal: bool) -> None:
    assert DEFAULT.is_internal(topic) is internal


@pytest.mark.parametrize(
    ("topic", "yes"),
    [
        ("heartbeats", True),
        ("source1.heartbeats", True),
        ("source2.source1.heartbeats", True),
        ("heartbeats!", False),
        ("!heartbeats", False),
        ("source1heartbeats", False),
        ("source1-heartbeats", False),
    ],
)
def test_heartbeat_topics(topic: str, yes: bool) -> None:
    assert DEFAULT.is_heartbeats(topic) is yes


@pytest.mark.parametrize(
    ("topic", "yes"),
    [
        ("source1.checkpoints.internal", True),
        ("checkpoints.internal", False),
        ("checkpoints-internal", False),
        ("checkpoints.internal!", False),
        ("!checkpoints.internal", False),
        ("source1checkpointsinternal", False),
    ],
)
def test_checkpoint_topics(topic: str, yes: bool) -> None:
    assert DEFAULT.is_checkpoints(topic) is yes


@pytest.mark.parametrize(
    ("policy", "syncs", "checkpoints"),
    [
        (DEFAULT, "mm2-offset-syncs.CLUSTER.internal", "CLUSTER.checkpoints.internal"),
        (
            DefaultReplicationPolicy("__", internal_separator=False),
            "mm2-offset-syncs.CLUSTER.internal",
            "CLUSTER.checkpoints.internal",
        ),
        (
            DefaultReplicationPolicy("__"),
            "mm2-offset-syncs__CLUSTER__internal",
            "CLUSTER__checkpoints__internal",
        ),
    ],
)
def test_names_of_internal_topics(
    policy: DefaultReplicationPolicy, syncs: str, checkpoints: str
) -> None:
    assert policy.offset_syncs_topic("CLUSTER") == syncs
    assert policy.checkpoints_topic("CLUSTER") == checkpoints
    assert policy.is_checkpoints(checkpoints)
    assert policy.is_internal(syncs)
    assert policy.is_internal(checkpoints)
    assert policy.heartbeats_topic() == "heartbeats"


def test_identity_policy_keeps_names_but_for_heartbeats() -> None:
    policy = IdentityReplicationPolicy(source_alias="LEFT")
    assert policy.remote_topic("LEFT", "orders") == "orders"
    assert policy.remote_topic("LEFT", "heartbeats") == "LEFT.heartbeats"
    assert policy.topic_source("orders") == "LEFT"
    assert policy.topic_source("RIGHT.heartbeats") == "RIGHT"
    assert policy.topic_source("heartbeats") is None
    assert policy.upstream_topic("a.b") == "a.b"
    assert policy.upstream_topic("RIGHT.heartbeats") == "heartbeats"
    assert policy.original_topic("a.b") == "a.b"
    assert policy.original_topic("X.RIGHT.heartbeats") == "heartbeats"
    assert IdentityReplicationPolicy().topic_source("orders") is None


@pytest.mark.parametrize(
    ("topic", "on", "origin"),
    [
        ("T", "RIGHT", ("RIGHT", "T")),
        ("LEFT.T", "RIGHT", ("LEFT", "T")),
        ("orders.eu", "RIGHT", ("RIGHT", "orders.eu")),
        ("LEFT.orders.eu", "RIGHT", ("LEFT", "orders.eu")),
        ("LEFT.", "RIGHT", ("RIGHT", "LEFT.")),
        ("RIGHT.LEFT.T", "LEFT", None),
        ("LEFT.RIGHT.T", "RIGHT", None),
        ("RIGHT.T", "RIGHT", None),
        ("heartbeats", "RIGHT", None),
        ("LEFT.heartbeats", "RIGHT", None),
        ("LEFT.checkpoints.internal", "RIGHT", None),
        ("__consumer_offsets", "LEFT", None),
    ],
)
def test_only_configured_aliases_make_a_copy(
    topic: str, on: str, origin: tuple[str, str] | None
) -> None:
    assert NAMING.origin_of(topic, on) == origin


def test_log_names() -> None:
    assert NAMING.log_name("LEFT", "T", on="LEFT") == "T"
    assert NAMING.log_name("LEFT", "T", on="RIGHT") == "LEFT.T"
    assert NAMING.log_names("T", on="RIGHT") == {"LEFT": "LEFT.T", "RIGHT": "T"}


def test_logical_topics_of_a_listing() -> None:
    listing = ["T", "LEFT.T", "LEFT.U", "orders.eu", "heartbeats", "x.internal", "RIGHT.T"]
    assert NAMING.logical_topics(listing, on="RIGHT") == {"T", "U", "orders.eu"}


def test_identity_names_have_one_origin() -> None:
    naming = Naming(IdentityReplicationPolicy(source_alias="LEFT"), ["LEFT", "RIGHT"])
    assert naming.origin_of("LEFT.T", on="RIGHT") == ("LEFT", "LEFT.T")
    assert naming.origin_of("T", on="LEFT") == ("LEFT", "T")


@pytest.mark.parametrize("aliases", [["LEFT", "eu.west"], [""]])
def test_aliases_that_cannot_be_told_apart_are_refused(aliases: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        Naming(DEFAULT, aliases)


def test_an_unknown_alias_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="MIDDLE"):
        NAMING.origin_of("T", on="MIDDLE")
    with pytest.raises(ConfigurationError, match="MIDDLE"):
        NAMING.log_name("MIDDLE", "T", on="LEFT")
    with pytest.raises(ConfigurationError):
        DefaultReplicationPolicy("")

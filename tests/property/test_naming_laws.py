"""Laws of names: a log's name leads back to its origin, and nothing else does."""

from hypothesis import given
from hypothesis import strategies as st

from clientlib.protocol.naming import DefaultReplicationPolicy, Naming

ALIASES = ["LEFT", "RIGHT", "THIRD"]
NAMES = st.text(alphabet="abLEFT._-", min_size=1, max_size=12)
SEPARATORS = st.sampled_from([".", "_", "__", "-"])


@given(NAMES, SEPARATORS, st.sampled_from(ALIASES), st.sampled_from(ALIASES))
def test_a_logs_name_leads_back_to_its_origin(
    topic: str, separator: str, origin: str, on: str
) -> None:
    """A name of nothing but separators is left out: MM2 itself takes its copy for a local topic."""
    naming = Naming(DefaultReplicationPolicy(separator), ALIASES)
    if topic.strip(separator) and naming.origin_of(topic, origin) == (origin, topic):
        assert naming.origin_of(naming.log_name(origin, topic, on), on) == (origin, topic)


@given(NAMES, SEPARATORS, st.sampled_from(ALIASES))
def test_every_topic_that_is_ours_has_the_name_that_we_would_give_it(
    topic: str, separator: str, on: str
) -> None:
    naming = Naming(DefaultReplicationPolicy(separator), ALIASES)
    found = naming.origin_of(topic, on)
    if found is not None:
        assert naming.log_name(found[0], found[1], on) == topic
        assert naming.logical_topics([topic], on) == {found[1]}


@given(NAMES, SEPARATORS)
def test_taking_hops_off_ends_at_a_name_without_source(topic: str, separator: str) -> None:
    policy = DefaultReplicationPolicy(separator)
    assert policy.topic_source(policy.original_topic(topic)) is None
    assert policy.topic_source(policy.remote_topic("LEFT", "x")) == "LEFT"

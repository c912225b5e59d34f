"""Every retry policy, by name.

Retried is only what an error itself calls retriable, and what a cluster says while the leader of a
new partition settles.
"""

from confluent_kafka import KafkaError, KafkaException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from clientlib.protocol.errors import FailoverError


def _retriable(error: BaseException) -> bool:
    return isinstance(error, FailoverError) and error.retriable


_SETTLING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - confluent-kafka's public constants begin so
        KafkaError._NOENT,  # noqa: SLF001 - as above: no leaders found
    }
)


def code_of(error: BaseException) -> int | None:
    """Return the Kafka error code that caused one of our errors, None without one."""
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None


def _settling(error: BaseException) -> bool:
    return code_of(error) in _SETTLING


def leader() -> Retrying:
    """A new or moved partition has no leader for a moment; a missing topic stays missing."""
    return Retrying(
        retry=retry_if_exception(_settling),
        stop=stop_after_delay(3.0),
        wait=wait_exponential(multiplier=0.01, max=0.2),
        reraise=True,
    )


def _patient(seconds: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception(_retriable),
        stop=stop_after_delay(seconds),
        wait=wait_exponential(multiplier=0.05, max=1.0),
        reraise=True,
    )


def create_topics() -> Retrying:
    """Topics are created before anything is closed: patience costs nothing."""
    return _patient(15.0)


def prepare_reader() -> Retrying:
    """A new topic needs a moment until its leader is known."""
    return _patient(10.0)

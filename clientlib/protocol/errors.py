"""Errors of both packages.

    FailoverError
    +-- LocalError              our caller's mistake: the same call will fail again
    |   +-- ConfigurationError
    |   `-- NotSupportedError
    `-- RemoteError             something out there
        +-- ClusterUnreachableError     (retriable)
        +-- TimedOutError               (retriable)
        +-- FencedError                 another orchestrator took over
        +-- RecordFormatError           a record that we cannot read, or must not (``min_reader``)
        `-- LedgerUnknownError          (retriable) an end that no one has written yet

``retriable`` is data on the class: whoever retries asks it and nothing else.
"""

from typing import ClassVar


class FailoverError(Exception):
    """Base of every error that this project raises on purpose."""

    retriable: ClassVar[bool] = False


class LocalError(FailoverError):
    """The caller asked for something that cannot be done; retrying will not help."""


class ConfigurationError(LocalError):
    """A setting is missing, unknown or contradicts another one."""


class NotSupportedError(LocalError):
    """A use of the Kafka client that the wrapper does not offer."""


class RemoteError(FailoverError):
    """A cluster, or what is stored on it, does not allow the operation."""


class ClusterUnreachableError(RemoteError):
    """No broker of the cluster answered in time."""

    retriable = True


class TimedOutError(RemoteError):
    """A condition did not come true before its deadline."""

    retriable = True


class FencedError(RemoteError):
    """A newer orchestrator took the scope; this one must not write any more."""


class RecordFormatError(RemoteError):
    """Bytes that do not follow the format, or that a newer version wrote for newer readers only."""


class LedgerUnknownError(RemoteError):
    """The ledger has no end yet for a closed epoch on this cluster."""

    retriable = True

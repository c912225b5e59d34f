"""Drop-in Kafka clients that follow the active cluster.

>>> from clientlib import FailoverConsumer, FailoverProducer

Names are imported when they are first used, so that the command line, which needs only
``clientlib.protocol``, does not load a Kafka client to print its help.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clientlib.consumer import FailoverConsumer
    from clientlib.origin import Origin
    from clientlib.producer import FailoverProducer
    from clientlib.protocol.errors import ConfigurationError, FailoverError, NotSupportedError

logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "ConfigurationError",
    "FailoverConsumer",
    "FailoverError",
    "FailoverProducer",
    "NotSupportedError",
    "Origin",
]

_HOMES = {
    "ConfigurationError": "clientlib.protocol.errors",
    "FailoverConsumer": "clientlib.consumer",
    "FailoverError": "clientlib.protocol.errors",
    "FailoverProducer": "clientlib.producer",
    "NotSupportedError": "clientlib.protocol.errors",
    "Origin": "clientlib.origin",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'clientlib' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value

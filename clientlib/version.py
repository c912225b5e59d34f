"""The version that clients register with."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("kafka-failover")
except PackageNotFoundError:  # pragma: no cover - a source tree that was never installed
    VERSION = "0+unknown"

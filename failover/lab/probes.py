"""Questions to the lab's clusters: whether one answers, and whether MirrorMaker 2 copies."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from failover.lab.settings import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from failover.lab.settings import Layout

_PORTS = range(20_000, 32_000)  # below the range from which systems take ports of connections


def choose_ports(count: int, draw: Iterable[int]) -> list[int]:
    """Return ``count`` different free ports, tried in the order of ``draw``."""
    chosen: list[int] = []
    for port in draw:
        if len(chosen) == count:
            break
        if port not in chosen and _is_free(port):
            chosen.append(port)
    return chosen


def port_range() -> range:
    """Return the ports that a lab may take."""
    return _PORTS


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something listens on the port; costs nothing while it does not."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def is_reachable(bootstrap: str, timeout_s: float = 1.0) -> bool:
    """Whether the cluster answers a metadata request and has a broker that serves."""
    from confluent_kafka import KafkaException  # noqa: PLC0415 - keeps `failover --help` fast
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - as above

    admin = AdminClient(_quiet(bootstrap))
    try:
        return bool(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def heartbeat_ends(layout: Layout, timeout_s: float = 2.0) -> dict[tuple[str, str], int]:
    """Return, by flow, the end of the copy of the source's heartbeats on the target; 0 without."""
    return {
        (source, target): _end(layout.broker(target).bootstrap, f"{source}.heartbeats", timeout_s)
        for source, target in layout.flows
    }


def all_grew(before: Mapping[tuple[str, str], int], now: Mapping[tuple[str, str], int]) -> bool:
    """Whether every flow copied a heartbeat since ``before``."""
    return all(now[flow] > before.get(flow, 0) for flow in now)


def _end(bootstrap: str, topic: str, timeout_s: float) -> int:
    from confluent_kafka import (  # noqa: PLC0415 - keeps `failover --help` fast
        Consumer,
        KafkaException,
        TopicPartition,
    )

    settings = _quiet(bootstrap) | {"group.id": "failover-lab-probe"}
    consumer = Consumer(settings)
    try:
        end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=timeout_s)[1]
        return int(end)
    except KafkaException:
        return 0
    finally:
        consumer.close()


def _quiet(bootstrap: str) -> dict[str, Any]:
    # A broker that is down is what we ask about, not an error to print.
    return {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _: None}

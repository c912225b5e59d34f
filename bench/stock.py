"""LEFT is killed under load: what MirrorMaker 2 alone makes of it, and what the wrapped clients do.

The same load three times. With MirrorMaker 2's own group offset sync, plain clients are started
again on RIGHT by an operator's script; it begins at once, so that no time is lost by thinking.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from figures import Figures

from clientlib.protocol.errors import RemoteError, TimedOutError
from failover.checkers import EpochSeen, History, Verdict, judge
from failover.demo.application import Application
from failover.demo.story import LEFT, RIGHT, create_topics, stage
from failover.demo.tool import Tool
from failover.io.history import HistoryWriter
from failover.lab.lab import Lab

_TOPIC, _GROUP, _PARTITIONS = "orders", "billing", 6
_PRODUCERS, _RATE = 2, 500.0
_COMMITS = ("auto", "batch", "message")
_FLOW_S, _SYNC_S, _READY_S, _DRAIN_S = 180.0, 300.0, 180.0, 20.0
_BEHIND = 300
_PATIENCE_S, _AFTER_S = 3.0, 5.0
_PLAIN = (str(Path(__file__).with_name("plain_app.py")),)
_SYNC = "sync.group.offsets"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fail over; ``mm2``: settings on top of the lab's, None for the wrapped clients.

    ``within_s``: the time in which LEFT dies at random, a whole turn of what is periodic.
    """

    name: str
    within_s: float
    mm2: Mapping[str, str] | None = None


_DEFAULTS = {
    f"{_SYNC}.enabled": "true",
    f"{_SYNC}.interval.seconds": "60",
    "emit.checkpoints.interval.seconds": "60",
    "refresh.topics.interval.seconds": "600",
    "refresh.groups.interval.seconds": "600",
    "offset.lag.max": "100",
}
_TUNED = {
    f"{_SYNC}.enabled": "true",
    f"{_SYNC}.interval.seconds": "1",
    "emit.checkpoints.interval.seconds": "1",
    "refresh.topics.interval.seconds": "5",
    "refresh.groups.interval.seconds": "5",
    "offset.lag.max": "10",
}
WAYS = (
    Way("MirrorMaker 2, group offset sync, its defaults", 60.0, _DEFAULTS),
    Way("MirrorMaker 2, group offset sync, tuned", 5.0, _TUNED),
    Way("wrapped clients, `failover switch --emergency`", 5.0),
)


def measure(rounds: int, seed: int, say: Say) -> Figures:
    """Kill LEFT so often in each way; every round has a lab of its own."""
    say(f"seed {seed}")
    rng = random.Random(seed)
    rows = []
    for way in WAYS:
        found = []
        for number in range(1, rounds + 1):
            found.append(_round(way, rng.uniform(0, way.within_s), say))
            say(f"{way.name}, {number} of {rounds}: {_brief(found[-1])}")
        rows.append(_row(way, found))
    within = ", ".join(f"{way.within_s:g}" for way in WAYS)
    tuned = ", ".join(f"`{key}={value}`" for key, value in _TUNED.items())
    return Figures(
        "LEFT is killed: repeated, lost and reordered records",
        ("way", "acknowledged", "never answered or failed", "lost", "repeated", "reordered"),
        rows,
        [
            (
                f"{rounds} rounds each, in order. {_PRODUCERS} producers of {_RATE:g} records/s, "
                f"{len(_COMMITS)} consumers that are caught up (commits: {', '.join(_COMMITS)}), "
                f"{_PARTITIONS} partitions; the same application but for the two classes."
            ),
            (
                f"LEFT dies (SIGKILL) at a random moment of {within} s after the group's first "
                f"sync, in this order; seed {seed}."
            ),
            (
                "Plain clients: acks=all, idempotence; at once ended and started again on RIGHT, "
                "where the consumers subscribe to the topic and its copy by a regular expression."
            ),
            f"Tuned: {tuned}. Whatever else the lab sets is the same in all rows.",
            (
                "Lost: acknowledged and never delivered. Of a record that was never answered an "
                "application does not know what became of it; it is not counted as lost."
            ),
        ],
    )


def _row(way: Way, found: Sequence[Verdict]) -> list[str]:
    columns = [
        [verdict.acked for verdict in found],
        [verdict.unknown.unanswered + verdict.unknown.failed for verdict in found],
        [verdict.lost for verdict in found],
        [verdict.repeated for verdict in found],
        [verdict.reordered for verdict in found],
    ]
    return [way.name, *("; ".join(f"{count:,}" for count in counts) for counts in columns)]


def _brief(found: Verdict) -> str:
    return (
        f"{found.acked:,} acknowledged, {found.lost:,} lost, {found.repeated:,} repeated, "
        f"{found.reordered:,} reordered"
    )


def _round(way: Way, delay_s: float, say: Say) -> Verdict:
    with stage(None, keep=False, say=lambda _: None) as (lab, home):
        create_topics(lab, [_TOPIC], _PARTITIONS)
        play = _wrapped if way.mm2 is None else _plain
        history = play(lab, home, way, delay_s, say)
    return judge(history, groups=[_GROUP])


def _wrapped(lab: Lab, home: Path, _way: Way, delay_s: float, say: Say) -> History:
    """Let the wrapped application live through the death of LEFT."""
    told = home / "tool.jsonl"
    with (
        HistoryWriter(told) as history,
        Application(lab.config_path, home / "application", _TOPIC, _GROUP) as application,
    ):
        tool = Tool(lab.config_path, history, lambda _: None, home / "tool.log")
        tool.init(LEFT)
        _start(application)
        tool.until_ready(RIGHT, timeout_s=_READY_S)
        _kill(lab, application, delay_s, say)
        given_up = ("switch", "--to", RIGHT, "--emergency", "--allow-data-loss", "--yes")
        tool.move(*given_up, target=RIGHT)
        _finish([application], say)
        return application.history(told)


def _plain(lab: Lab, home: Path, way: Way, delay_s: float, say: Say) -> History:
    """Let a plain application live on LEFT, and start it again on RIGHT when LEFT is dead."""
    told = home / "operator.jsonl"
    with (
        HistoryWriter(told) as history,
        _application(lab, home, LEFT) as before,
        _application(lab, home, RIGHT) as after,
    ):
        history.write(EpochSeen("operator", 1, LEFT, time.monotonic()))
        _start(before)
        # it learns of topics and groups as it starts: by default it would look again in 10 minutes
        lab.stop("mm2")
        lab.override_mm2(way.mm2 or {})
        lab.start("mm2")
        _wait_synced(lab)
        _kill(lab, before, delay_s, say)
        history.write(EpochSeen("operator", 2, RIGHT, time.monotonic()))
        before.abandon(_PATIENCE_S)
        after.consume(_COMMITS)
        after.produce(_PRODUCERS, _RATE, _next(before))
        _finish([before, after], say)
        mine = [process.history for process in after.producers + after.consumers]
        return before.history(told, *mine)


def _application(lab: Lab, home: Path, cluster: str) -> Application:
    address = f"{cluster}={lab.bootstrap(cluster)}"
    return Application(address, home / f"application-{cluster}", _TOPIC, _GROUP, _PLAIN)


def _start(application: Application) -> None:
    application.consume(_COMMITS)
    application.produce(_PRODUCERS, _RATE)
    application.wait_flowing(_PARTITIONS, _BEHIND, timeout_s=_FLOW_S)


def _wait_synced(lab: Lab) -> None:
    """Wait until MirrorMaker 2 has written the group's offsets to RIGHT, of all partitions."""
    copies = [TopicPartition(f"{LEFT}.{_TOPIC}", number) for number in range(_PARTITIONS)]
    asking = {"bootstrap.servers": lab.bootstrap(RIGHT), "group.id": _GROUP}
    deadline = time.monotonic() + _SYNC_S
    with Consumer(asking) as consumer:
        while any(tp.offset <= 0 for tp in consumer.committed(copies, timeout=10)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"MirrorMaker 2 synced no offsets within {_SYNC_S:g} s")
            time.sleep(1)


def _kill(lab: Lab, application: Application, delay_s: float, say: Say) -> None:
    say(f"LEFT is going to die in {delay_s:.1f} s")
    application.run_on(delay_s)
    application.wait_flowing(_PARTITIONS, _BEHIND, timeout_s=_FLOW_S)
    lab.kill(LEFT)


def _finish(applications: Sequence[Application], say: Say) -> None:
    """Work on for a while, stop the producers, and read until nothing comes any more."""
    last = applications[-1]
    try:
        last.wait_flowing(_PARTITIONS, _BEHIND, timeout_s=_FLOW_S)
    except TimedOutError as error:  # what became of each record is counted all the same
        say(str(error))
    last.run_on(_AFTER_S)
    last.stop_producers()
    known, since = -1, time.monotonic()
    while (now := time.monotonic()) - since < _DRAIN_S:
        last.run_on(0.5)
        got = set[Any]().union(*(p.delivered for one in applications for p in one.consumers))
        wanted = set[Any]().union(*(p.acked for one in applications for p in one.producers))
        if wanted <= got:
            break
        if len(got) != known:
            known, since = len(got), now
    try:
        last.stop_consumers()
    except RemoteError as error:  # it was given everything all the same
        say(str(error).partition(":")[0])


def _next(application: Application) -> dict[str, int]:
    """Return with which number each producer goes on: behind the last that it sent."""
    sent = application.history().sent_by
    return {name: max(by, default=-1) + 1 for name, by in sent.items()}

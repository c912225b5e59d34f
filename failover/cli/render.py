"""Tables for people: at most 100 columns, readable without colour, the important things first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from failover.core.result import Finding, Severity

_STYLE = {
    "block": "bold red",
    "warn": "yellow",
    "info": "dim",
    "active": "bold green",
    "done": "green",
    "failed": "bold red",
    "planned": "dim",
}
_WORD = {Severity.BLOCK: "BLOCK", Severity.WARN: "warn", Severity.INFO: "info"}
Row = Sequence[str]


def table(heads: Row, rows: Iterable[Row]) -> Table:
    """Return a plain table without frames; a column whose head starts with ``#`` holds numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        number = head.startswith("#")
        made.add_column(head.lstrip("#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, style=_STYLE.get(cell, "")) for cell in row))
    return made


def section(title: str, body: RenderableType) -> RenderableType:
    """Return a headed part, with an empty line before it."""
    return Group(Text(f"\n{title}", style="bold"), Padding(body, (0, 0, 0, 2), expand=False))


def findings(found: Iterable[Finding], *, ignored: Iterable[str] = ()) -> RenderableType:
    """Return each finding as what, why and what to do."""
    waved = frozenset(ignored)
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True, min_width=5)
    made.add_column(overflow="fold")
    for one in found:
        word = "ignored" if one.id in waved else _WORD[one.severity]
        told = Text.assemble((one.id, "bold"), f"  {one.subject}: {one.what}")
        made.add_row(Text(word, style=_STYLE.get(one.severity.value, "")), told)
        made.add_row("", Text(f"why: {one.reason}\ndo:  {one.remedy}"))
    return made if made.row_count else Text("none")


def age(milliseconds: int | None) -> str:
    """Return a time span as people say it."""
    if milliseconds is None:
        return "never"
    if milliseconds < 10_000:  # noqa: PLR2004 - below this, tenths matter
        return f"{milliseconds / 1000:.1f} s ago"
    seconds = milliseconds // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def headline(status: Mapping[str, Any]) -> Text:
    """Return the one line that answers: who is active, is it well."""
    health = ("healthy", "bold green") if status["healthy"] else ("DEGRADED", "bold red")
    if status["active"] is None:
        silent = not any(one["reachable"] for one in status["clusters"].values())
        what = "no cluster answers, who is active is not known" if silent else "not initialised"
        return Text.assemble(f"scope {status['scope']}: {what}  ", health)
    phase = "" if status["phase"] == "active" else f", phase {status['phase']}"
    return Text.assemble(
        f"scope {status['scope']}: ",
        (f"{status['active']} is active", "bold"),
        f", epoch {status['epoch']}{phase}  ",
        health,
    )


def status(document: Mapping[str, Any], found: Iterable[Finding]) -> RenderableType:
    """Return `failover status`."""
    parts: list[RenderableType] = [
        headline(document),
        section("Clusters", _clusters(document["clusters"])),
        section("Flows", _flows(document["flows"])),
    ]
    if document["groups"]:
        parts.append(section("Groups", groups(document["groups"], document["active"])))
    parts.append(section("Clients", _client_summary(document)))
    parts.append(section("Findings", findings(found)))
    return Group(*parts)


def _clusters(clusters: Mapping[str, Any]) -> RenderableType:
    return table(
        ("cluster", "role", "answers", "bootstrap", "#topics", "#groups", "cluster id"),
        (
            (
                alias,
                one["role"],
                "yes" if one["reachable"] else "NO",
                one["bootstrap"],
                str(one["topics"]) if one["reachable"] else "-",
                str(one["groups"]) if one["reachable"] else "-",
                one["cluster_id"] or "-",
            )
            for alias, one in clusters.items()
        ),
    )


def _flows(flows: Iterable[Mapping[str, Any]]) -> RenderableType:
    return table(
        ("flow", "#lag (records)", "heartbeat"),
        (
            (
                f"{flow['source']}->{flow['target']}",
                f"{flow['lag_records']:,}",
                age(flow["heartbeat_age_ms"]),
            )
            for flow in flows
        ),
    )


def groups(known: Iterable[Mapping[str, Any]], active: str | None) -> RenderableType:
    """Return the groups, one line for each cluster where they are known.

    A wrapped group reads on the active cluster only, so elsewhere it is behind by design.
    """
    rows = [
        (
            group["name"] if first else "",
            ("wrapped" if group["wrapped"] else "plain") if first else "",
            alias,
            one["state"],
            str(one["members"]),
            "-" if group["wrapped"] and alias != active else f"{one['behind']:,}",
            "-" if one["token_epoch"] is None else str(one["token_epoch"]),
        )
        for group in known
        for first, (alias, one) in _marked(group["clusters"].items())
    ]
    return table(("group", "kind", "on", "state", "#members", "#behind", "#token epoch"), rows)


def _marked(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[bool, tuple[str, Any]]]:
    return ((index == 0, item) for index, item in enumerate(items))


def _client_summary(document: Mapping[str, Any]) -> RenderableType:
    known = document["clients"]
    living = [one for one in known if not one["expired"]]
    producers = sum(one["role"] == "producer" for one in living)
    gone = len(known) - len(living)
    text = f"{producers} producers, {len(living) - producers} consumers"
    told = [text, f"{gone} no longer renewing" if gone else "", _elsewhere(document)]
    return Text("; ".join(filter(None, told)))


def _elsewhere(document: Mapping[str, Any]) -> str:
    """Say where clients are registered when the active cluster cannot be asked."""
    active, told = document["active"], document["registered_on"]
    if active is None or active in told:
        return ""
    return f"{active} does not answer; on {', '.join(told)}"


def clients(document: Mapping[str, Any]) -> RenderableType:
    """Return `failover clients`."""
    known, elsewhere = document["clients"], _elsewhere(document)
    if not known:
        return Text(f"{elsewhere}: no client is registered".removeprefix(": "))
    return Group(Text(elsewhere), _clients(known)) if elsewhere else _clients(known)


def _clients(known: Sequence[Mapping[str, Any]]) -> RenderableType:
    return table(
        ("client", "role", "group", "host", "#pid", "#epoch", "renewed", "state"),
        (
            (
                one["id"],
                one["role"],
                one["group"] or "-",
                one["host"] or "-",
                str(one["pid"] or "-"),
                str(one["seen_epoch"]),
                age(one["renewed_ms_ago"]),
                _client_state(one),
            )
            for one in known
        ),
    )


def _client_state(one: Mapping[str, Any]) -> str:
    if one["expired"]:
        return "expired"
    return "quiesced" if one["quiesced"] else "living"


def preflight(document: Mapping[str, Any], found: Sequence[Finding]) -> RenderableType:
    """Return `failover preflight`."""
    blocking = len(document["blocking"])
    verdict = (
        Text("ready: nothing stands in the way", style="bold green")
        if document["ok"]
        else Text(
            f"refused: {blocking} finding{'s' * (blocking != 1)} would stop the switch",
            style="bold red",
        )
    )
    head = Text(f"preflight {document['from'] or '?'} -> {document['to']}, ")
    head.append_text(verdict)
    return Group(head, section("Findings", findings(found, ignored=document["ignored"])))


def history(document: Mapping[str, Any]) -> RenderableType:
    """Return `failover history`, newest run first; `failover report` tells more of each."""
    if not document["runs"]:
        return Text("no run has been journalled")
    return table(
        ("run", "from", "to", "#epoch", "result", "#writes closed"),
        (
            (
                one["run"] or "-",
                one["from"] or "-",
                one["to"] or "-",
                str(one["epoch"]),
                one["result"],
                milliseconds(one["measured"].get("write_pause_ms")),
            )
            for one in document["runs"]
        ),
    )


def milliseconds(value: float | None) -> str:
    """Return a measured pause, or a dash where nothing was measured."""
    return "-" if value is None else f"{value:,.0f} ms"


def config(document: Mapping[str, Any]) -> RenderableType:
    """Return `failover config show`."""
    rows = [
        ("file", document["file"]),
        ("digest", document["digest"]),
        *(
            (f"cluster {alias}", ", ".join(f"{key}={value}" for key, value in client.items()))
            for alias, client in document["clusters"].items()
        ),
        ("flows", ", ".join(document["flows"])),
        ("copies are named", f"ALIAS{document['replication']['separator']}TOPIC"),
        *(
            (
                f"scope {name}",
                f"topics {' '.join(scope['topics'])}, groups {' '.join(scope['groups'])}",
            )
            for name, scope in document["scopes"].items()
        ),
        ("control topics", f"{document['control']['prefix']}-*.internal"),
    ]
    return table(("setting", "value"), rows)


def control_topics(document: Mapping[str, Any]) -> RenderableType:
    """Return `failover init --print`."""
    factor = document["replication_factor"]
    copies = "the broker's default replication factor" if factor < 0 else f"{factor} replicas"
    rows = [
        (
            topic["name"],
            str(topic["partitions"]),
            " ".join(f"{key}={value}" for key, value in topic["settings"].items()),
        )
        for topic in document["topics"]
    ]
    return Group(
        Text(f"to be created on each of {', '.join(document['clusters'])}, with {copies}:\n"),
        table(("topic", "#partitions", "settings"), rows),
    )

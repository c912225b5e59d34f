"""Plans and runs for people: what will happen, where the point of no return is, what came of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from failover.cli.render import findings, milliseconds, section, table
from failover.core.estimate import Outlook
from failover.core.plan import Plan
from failover.core.result import RunResult, StepRecord
from failover.core.steps import EMERGENCY, PLANNED

_CLOSED = frozenset(step.name for step in (*PLANNED, *EMERGENCY) if step.closed)
_LAST = frozenset(step.name for step in (*PLANNED, *EMERGENCY) if step.irreversible)


def plan(made: Plan, groups: Sequence[Mapping[str, Any]], timeout_s: float) -> RenderableType:
    """Return the plan of a switch."""
    if made.unchanged:
        return Text(f"{made.target} is active already (epoch {made.epoch}): nothing to do")
    head = Text.assemble(
        f"Plan: scope {made.scope} moves ",
        (f"{made.source} -> {made.target}", "bold"),
        f" as epoch {made.epoch}; nothing has been changed yet",
    )
    parts: list[RenderableType] = [head]
    if made.outlook is not None:
        parts.append(section(f"Without {made.source}", _outlook(made.source, made.outlook)))
    parts += _chapters(made, timeout_s)
    if made.creations:
        rows = ((c.alias, c.topic, str(c.partitions)) for c in made.creations)
        parts.append(
            section("Topics to create or widen", table(("on", "topic", "#partitions"), rows))
        )
    if groups:
        parts.append(section("Groups", _groups(groups, made)))
    parts.append(section("Findings", findings(made.findings, ignored=made.ignored)))
    parts.append(_verdict(made))
    return Group(*parts)


def _outlook(source: str, outlook: Outlook) -> RenderableType:
    found = outlook.estimate
    rows = [
        (f"{source} answers", "YES: it is not gone" if outlook.answers else "no"),
        ("may be lost", f"{found.most} records" if found.records is not None else "unknown"),
        ("because", found.source),
        ("accepted", "yes" if outlook.accepted else "NO: --allow-data-loss, or --max-lost N"),
    ]
    made = table(("what", "it is"), rows)
    made.show_header = False
    return made


def _verdict(made: Plan) -> Text:
    refusals = len(made.refusals)
    if not refusals and made.unaccepted is not None:
        return Text("\nThis switch would be refused: accept what may be lost.", style="bold red")
    if not refusals:
        return Text("\nNothing stands in the way.", style="bold green")
    many = "finding" if refusals == 1 else "findings"
    return Text(f"\nThis switch would be refused: {refusals} blocking {many}.", style="bold red")


def _chapters(made: Plan, timeout_s: float) -> Iterable[RenderableType]:
    """Yield the steps under headings that say what can still be undone."""
    numbered = list(enumerate(made.steps, 1))
    closed = [n for n, step in numbered if step.name in _CLOSED]
    last = [n for n, step in numbered if step.name in _LAST]
    first, final = min(closed, default=0), max(last, default=0)
    for title, rows in (
        ("Before: writes go on", [r for r in numbered if r[0] < first]),
        (
            f"Writes are closed, for {timeout_s:g} s at most, else they reopen on {made.source}",
            [r for r in numbered if first <= r[0] < final],
        ),
        ("Point of no return", [r for r in numbered if r[0] == final]),
        (f"After: writes go to {made.target}", [r for r in numbered if r[0] > final]),
    ):
        if rows:
            body = table(("#", "step", ""), ((str(n), s.name, s.what) for n, s in rows))
            body.show_header = False
            yield section(title, body)


def _groups(groups: Iterable[Mapping[str, Any]], made: Plan) -> RenderableType:
    if made.outlook is not None:
        return _surviving(groups, made)
    return table(
        ("group", "kind", "#members", "#left to read", "what happens"),
        (
            (
                group["name"],
                "wrapped" if group["wrapped"] else "plain",
                str(here["members"]),
                f"{here['behind']:,}",
                _fate(group, here, made),
            )
            for group in groups
            if (here := group["clusters"].get(made.source)) is not None
        ),
    )


def _surviving(groups: Iterable[Mapping[str, Any]], made: Plan) -> RenderableType:
    """Return the groups as the target knows them; the lost cluster's commits cannot be asked."""
    return table(
        ("group", "kind", "#members", "what happens"),
        (
            (
                group["name"],
                "wrapped" if group["wrapped"] else "plain",
                str(here["members"]),
                _fate_without(group, here),
            )
            for group in groups
            if (here := group["clusters"].get(made.target)) is not None
        ),
    )


def _fate_without(group: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if not group["wrapped"]:
        return "stays behind: move it by hand"
    if here["members"]:
        return "goes on by itself, where its members are"
    return "goes on by its last report when it is started; what came after that comes again"


def _fate(group: Mapping[str, Any], here: Mapping[str, Any], made: Plan) -> str:
    if not group["wrapped"]:
        return "stays behind: move it by hand"
    if not here["members"]:
        return f"moves when it is started, while {made.source} lives"
    return "moves by itself: lost 0, repeated 0"


def run(result: RunResult, *, steps: bool = True) -> RenderableType:
    """Return what a run came to; without its steps where they have been told already."""
    parts: list[RenderableType] = [_headline(result)]
    if result.message:
        parts.append(Text(result.message))
    if result.remedy:
        parts.append(Text(f"next: {result.remedy}"))
    if any(result.measured.get(key) is not None for key, _ in _MEASURED):
        parts.append(section("Measured", _measured(result.measured)))
    if result.steps and steps:
        parts.append(section("Steps", _steps(result.steps)))
    if result.warnings:
        parts.append(section("Warnings", Text("\n".join(result.warnings))))
    if result.findings:
        parts.append(section("Findings", findings(result.findings)))
    return Group(*parts)


def _headline(result: RunResult) -> Text:
    good = result.exit_code == 0
    text = Text()
    text.append(result.result.replace("-", " "), style="bold green" if good else "bold red")
    if result.source and result.target and result.source != result.target:
        text.append(f"  {result.source} -> {result.target}")
    if result.epoch:
        text.append(f"  epoch {result.epoch}")
    if result.run and result.result != "unchanged":
        text.append(f"  run {result.run}", style="dim")
    return text


_MEASURED = (
    ("write_pause_ms", "writes paused"),
    ("closed_ms", "writes closed"),
    ("read_pause_ms", "reads paused"),
    ("move_ms", "groups moved after"),
    ("lost_at_most", "lost at most"),
    ("repeats_skipped", "sent twice, skipped"),
    ("replayed", "written again"),
    ("lost", "lost"),
    ("repeated", "repeated"),
    ("late", "late"),
)


def _measured(measured: Mapping[str, Any]) -> RenderableType:
    """Return what is there; times of single phases stand with the steps."""
    made = table(
        ("what", "#measured"),
        (
            (label, milliseconds(value) if key.endswith("_ms") else f"{value:,}")
            for key, label in _MEASURED
            if (value := measured.get(key)) is not None
        ),
    )
    made.show_header = False
    return made


def _steps(steps: Iterable[StepRecord]) -> RenderableType:
    return table(
        ("step", "outcome", "#took", "what"),
        (
            (
                one.name,
                "not done" if one.outcome == "planned" else one.outcome,
                milliseconds(one.ended_ms - one.started_ms)
                if one.started_ms and one.ended_ms
                else "-",
                f"{one.what}: {one.detail}"
                if one.detail and one.outcome != "planned"
                else one.what,
            )
            for one in steps
        ),
    )

"""Writes the reference pages from the code: command line, configuration, findings and exit codes.

``python scripts/reference.py`` writes ``docs/reference/*.md``. Names, defaults, help and examples
are the code's own; the words for a configuration key stand here, and a key without words is an
error, so that none can be added silently.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from clientlib import consumer, producer
from clientlib.io import options
from clientlib.protocol.errors import ConfigurationError
from clientlib.settings import Control, Scope, Settings, parse
from failover.cli import help as help_texts
from failover.cli.app import app
from failover.core import findings, standing
from failover.core.result import ExitCode

Verb: TypeAlias = Callable[..., Any]

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_NOTE = "<!-- written by scripts/reference.py: `make reference` writes it again -->\n"
_UNKNOWN = "zzzzzzzz"
_CLUSTERS = {"LEFT": {"bootstrap.servers": "a"}, "RIGHT": {"bootstrap.servers": "b"}}

# -- the words for what the code only names ------------------------------------------------------

_FILE_KEYS = {
    "clusters": "the clusters by alias; at least two",
    "clusters.ALIAS": "any librdkafka key, verbatim; `bootstrap.servers` is needed",
    "clusters.ALIAS.connect": "the Kafka Connect that writes into this cluster; optional",
    "clusters.ALIAS.connect.url": "its REST address",
    "flows": "MirrorMaker 2's flows, `SOURCE->TARGET`",
    "replication": "how MirrorMaker 2 names remote topics",
    "replication.policy": "the replication policy; only `default` keeps origins apart",
    "replication.separator": "between alias and topic, as in `replication.policy.separator`",
    "retired": "aliases of clusters that are gone for good; their copies are still read",
    "scopes": "topics and groups that switch as one, by name",
    "scopes.NAME.topics": "regular expressions; each matches whole logical topic names",
    "scopes.NAME.groups": "regular expressions; each matches whole group names",
    "scopes.NAME.ordering": "`strict`: the gate is on",
    "control": "our own topics",
    "control.prefix": "their names begin with it",
    "control.state_partitions": "partitions of the state topic; a scope has one of them",
    "control.replication_factor": "of these topics; -1 is the broker's default",
}
_LIBRARY_KEYS = {
    "reconnect.backoff.max.ms": "a cluster that is back is found soon, if no backoff is set",
    "fetch.wait.max.ms": "consumers: a partition is read on soon after it was added",
    "topic.metadata.refresh.interval.ms": "consumers: so is a topic that is new on a standby",
}
_CLIENT_KEYS = {
    "failover.config": "path of `failover.yaml`, or a mapping of the same form",
    "failover.scope": "the scope that the client belongs to",
    "failover.application": "begins the client's id where `client.id` is not set",
    "failover.ttl.ms": "a registration that is older than this has lapsed",
    "failover.idempotence": "`False` lets a producer do without `acks=all` and idempotence",
    "failover.replay.ms": "how long a producer keeps what is not known to be copied",
    "failover.replay.bytes": "how much of it at most",
    "failover.record.identity": "`header` gives each record a header with a session and a number",
    "failover.late.records": "`hold` passes over late records; a function is asked about each",
}
_CLIENT_DEFAULTS = {
    "failover.config": "`FAILOVER_CONFIG`",
    "failover.scope": "the file's first",
    "failover.application": "`app`",
    "failover.ttl.ms": "10000",
    "failover.idempotence": "`True`",
    "failover.record.identity": "`fingerprint`",
    "failover.late.records": "`deliver`",
}
_BUFFER_DEFAULTS = {
    "failover.replay.ms": "_REPLAY_MS",
    "failover.replay.bytes": "_REPLAY_BYTES",
}
_ENVIRONMENT = {
    "FAILOVER_CONFIG": "path of `failover.yaml`, for the command and for clients",
    "FAILOVER_REQUIRED": "`1`: a wrapped client without a configuration is an error, not a plain "
    "client that warns",
    "NO_COLOR": "no colour",
}
_EXIT_CODES = {
    ExitCode.OK: ("done, or nothing to do", "nothing"),
    ExitCode.INTERNAL: ("a fault of the tool, or of a broker's answer", "run it with `--verbose`"),
    ExitCode.USAGE: ("wrong usage or configuration", "correct what the message names"),
    ExitCode.REFUSED: (
        "refused by a check, or undone since a stranger wrote: the old side is active",
        "do what the findings say",
    ),
    ExitCode.TIMED_OUT: (
        "timed out and undone: writes are open on the old side",
        "`status`, again",
    ),
    ExitCode.INCOMPLETE: ("begun and not finished", "`failover resume`"),
    ExitCode.LOCKED: ("another run holds the scope", "wait for it; `failover status` names it"),
    ExitCode.UNREACHABLE: (
        "a cluster that is needed does not answer",
        "start it, or the emergency page",
    ),
    ExitCode.DATA_LOSS: ("loss cannot be excluded and was not accepted", "read the estimate"),
    ExitCode.DEGRADED: ("`status`: it answers, and something is wrong", "read the findings"),
    ExitCode.INTERRUPTED: (
        "interrupted: undone before the intent, after it the target is active",
        "`failover resume` after the intent",
    ),
}

# For a rule that makes two findings its sentence describes the first.
_FINDINGS = {"late-records": "Somebody wrote to a standby after its last epoch was closed."}

# Findings that no rule makes, because they show only while a run is at work.
_OF_RUNS = {
    "old-side-alive": "`--emergency`, and the active cluster answers: it is not gone.",
    "rogue-writer": "The old side has grown after its producers had stopped: the run is undone.",
}


# -- command line --------------------------------------------------------------------------------


def command_line() -> str:
    """Return the page of all commands."""
    callback = app.registered_callback
    own = callback.callback if callback else None
    lines = [
        "# Command line\n",
        _NOTE,
        "`failover [GLOBAL OPTIONS] COMMAND [OPTIONS]`; global options may stand after the command",
        "too. One document goes to stdout; progress, prompts and errors go to stderr. An error",
        "says what happened and to what, and on a second line what to do next.\n",
        "## Global options\n",
        *_parameters(own),
        "`--install-completion` installs completion for the current shell, `--show-completion`",
        "prints it.\n",
        "## Exit codes\n",
        "| code | means | next |",
        "| ---: | --- | --- |",
        *(f"| {int(code)} | {_EXIT_CODES[code][0]} | {_EXIT_CODES[code][1]} |"
          for code in ExitCode),
        "",
    ]  # fmt: skip
    for path, verb in _commands(app, "failover"):
        lines += [f"## {path}\n", *_command(verb)]
    return "\n".join(lines)


def _commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Verb]]:
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{path} {command.name or command.callback.__name__}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _commands(inner.typer_instance, f"{path} {inner.name}")


def command_names() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each command with the names of its options; first the global ones."""
    callback = app.registered_callback
    own = callback.callback if callback else None
    completion = {"--install-completion", "--show-completion"}
    yield "failover", frozenset({*_all_names(own), *completion})
    for path, verb in _commands(app, "failover"):
        yield path, frozenset(_all_names(verb))


def _all_names(verb: Verb | None) -> Iterator[str]:
    for row in _parameters(verb):
        yield from re.findall(r"`(--?[a-z][a-z-]*)", row.partition(" | ")[0])


def _command(verb: Verb) -> Iterator[str]:
    told = help_texts.read(verb.__doc__)
    for paragraph in told.text:
        yield f"{paragraph}\n"
    yield from _parameters(verb)
    if told.examples:
        yield "```text"
        yield from (f"$ {one}" for one in told.examples)
        yield "```\n"


def _parameters(verb: Verb | None) -> list[str]:
    """Return the options of a command from its signature, which is what typer reads too."""
    if verb is None:
        return []
    hints = get_type_hints(verb, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, *notes = get_args(hints[name]) or (None,)
        info = notes[0] if notes else None
        if not isinstance(info, OptionInfo | ArgumentInfo):
            continue
        words = f"{_cell(info.help or '')}{_default(parameter, info)}"
        rows.append(f"| {_names(name, info, kind)} | {words} |")
    return ["| option | |", "| --- | --- |", *rows, ""] if rows else []


def _names(name: str, info: OptionInfo | ArgumentInfo, kind: Any) -> str:
    if isinstance(info, ArgumentInfo):
        return f"`{(info.metavar or name.upper()).strip('[]')}`"
    # In an annotation typer keeps the first name where the default would stand.
    first = (info.default,) if isinstance(info.default, str) else ()
    declared = (*first, *(info.param_decls or ())) or (f"--{name.replace('_', '-')}",)
    value = "" if kind is bool else f" {info.metavar or _value(kind)}"
    long = sorted(declared, key=len, reverse=True)
    return ", ".join(_cell(f"`{one}{value}`") for one in long)


def _value(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    named = {int: "N", float: "X", Path: "FILE"}
    return next((sign for one, sign in named.items() if one in {kind, *get_args(kind)}), "TEXT")


def _default(parameter: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> str:
    default = parameter.default
    told = []
    if default is inspect.Parameter.empty:
        told.append("Required.")
    elif default not in (None, False, ""):
        told.append(f"Default: `{getattr(default, 'value', default)}`.")
    if info.envvar:
        told.append(f"Environment: `{info.envvar}`.")
    return "".join(f" {one}" for one in told)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


# -- configuration -------------------------------------------------------------------------------


def _known(body: dict[str, Any]) -> list[str]:
    """Return the keys that the parser accepts next to an unknown one."""
    try:
        parse(body, environ={})
    except ConfigurationError as error:
        return str(error).partition("known: ")[2].split(", ")
    raise AssertionError(f"{body} was accepted")


def file_keys() -> list[str]:
    """Return every key of ``failover.yaml``, by asking the parser."""
    base: dict[str, Any] = {"clusters": _CLUSTERS}
    left = {**_CLUSTERS["LEFT"], "connect": {_UNKNOWN: 1}}
    inside = {
        "clusters.ALIAS.connect.": {"clusters": {**_CLUSTERS, "LEFT": left}},
        "replication.": {**base, "replication": {_UNKNOWN: 1}},
        "scopes.NAME.": {**base, "scopes": {"default": {_UNKNOWN: 1}}},
        "control.": {**base, "control": {_UNKNOWN: 1}},
    }
    keys = ["clusters.ALIAS", "clusters.ALIAS.connect", *_known({**base, _UNKNOWN: 1})]
    keys += [f"{prefix}{key}" for prefix, body in inside.items() for key in _known(body)]
    return sorted(keys)


def client_keys() -> list[str]:
    """Return every setting of a client that is ours, by asking for an unknown one."""
    try:
        options.options({f"failover.{_UNKNOWN}": 1}, environ={})
    except ConfigurationError as error:
        return str(error).partition("known: ")[2].split(", ")
    raise AssertionError("an unknown setting was accepted")


def _file_defaults() -> dict[str, str]:
    settings, scope, control = Settings(clusters={}, flows=()), Scope("NAME"), Control()
    return {
        "flows": "every pair",
        "replication.policy": f"`{settings.policy}`",
        "replication.separator": f"`{settings.separator}`",
        "scopes": "one, `default`, of everything",
        "scopes.NAME.topics": f"`{list(scope.topics)}`",
        "scopes.NAME.groups": f"`{list(scope.groups)}`",
        "scopes.NAME.ordering": f"`{scope.ordering}`",
        "control.prefix": f"`{control.prefix}`",
        "control.state_partitions": str(control.state_partitions),
        "control.replication_factor": str(control.replication_factor),
    }


def _library_defaults() -> dict[str, str]:
    found = vars(options)["_RECONNECT_SOON"] | vars(consumer)["_DEFAULTS"]
    return {key: str(value) for key, value in found.items()}


def _client_defaults() -> dict[str, str]:
    buffers = {key: vars(producer).get(name) for key, name in _BUFFER_DEFAULTS.items()}
    return {**_CLIENT_DEFAULTS, **{key: str(value) for key, value in buffers.items() if value}}


def _table(keys: Iterable[str], words: dict[str, str], defaults: dict[str, str]) -> Iterator[str]:
    yield "| key | | default |"
    yield "| --- | --- | --- |"
    for key in keys:
        yield f"| `{key}` | {words[key]} | {defaults.get(key, '')} |"
    yield ""


def configuration() -> str:
    """Return the page of ``failover.yaml`` and of the clients' settings."""
    topics = Control()
    return "\n".join(
        [
            "# Configuration\n",
            _NOTE,
            "## failover.yaml\n",
            "The command and the clients read the same file. An unknown key is an error that",
            "suggests the one that was probably meant. `${NAME}` takes an environment variable,",
            "`${file:PATH}` the content of a file, so that no secret stands in it; secrets are",
            "never printed. `failover config validate` checks a file, `failover config show`",
            "prints how it is understood.\n",
            *_table(file_keys(), _FILE_KEYS, _file_defaults()),
            "All clients and the command must agree on clusters, flows, naming, scopes and control",
            "topics: `failover status` names those that do not (`config-drift`).\n",
            "## Settings of a client\n",
            "They travel in the dict that confluent-kafka takes, next to librdkafka's own. A",
            "cluster's own keys in `failover.yaml` win over the dict; `bootstrap.servers` in the",
            "dict is not used.\n",
            *_table(client_keys(), _CLIENT_KEYS, _client_defaults()),
            "These of librdkafka's have another default than its own:\n",
            *_table(_library_defaults(), _LIBRARY_KEYS, _library_defaults()),
            "## Environment\n",
            "| variable | |",
            "| --- | --- |",
            *(f"| `{name}` | {words} |" for name, words in _ENVIRONMENT.items()),
            "",
            "## Topics of our own\n",
            "On every cluster, made by `failover init`, or printed by `failover init --print`:\n",
            "| topic | holds |",
            "| --- | --- |",
            f"| `{topics.state_topic}` | state, ledger and journal of each scope |",
            f"| `{topics.clients_topic}` | one registration for each living client |",
            f"| `{topics.progress_topic}` | progress records, for the unplanned case |",
            "",
            "Their names end in `.internal`, so MirrorMaker 2 does not copy them.",
            "",
        ]
    )


# -- findings ------------------------------------------------------------------------------------


def every_finding() -> Iterator[tuple[str, str]]:
    """Yield what rules find, and then what runs find."""
    yield from rules()
    yield from _OF_RUNS.items()


def rules() -> Iterator[tuple[str, str]]:
    """Yield each finding's id with its rule's sentence, in the order in which they are looked for.

    A rule may leave the making of its finding to functions of its module that it calls, or of
    `failover.core.standing`.
    """
    shared = {f"standing.{name}": node for name, node in _functions(standing).items()}
    for rule in findings.RULES:
        bodies = _functions(sys.modules[rule.__module__]) | shared
        for ident in dict.fromkeys(_idents(bodies, rule.__name__, set())):
            yield ident, _FINDINGS.get(ident, _sentence(rule))


def _functions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _idents(bodies: dict[str, ast.FunctionDef], name: str, seen: set[str]) -> Iterator[str]:
    if name not in bodies or name in seen:
        return
    seen.add(name)
    for node in ast.walk(bodies[name]):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            continue
        called = ast.unparse(node.func)
        if called == "Finding" and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)
        yield from _idents(bodies, called, seen)


def _sentence(rule: Callable[..., Any]) -> str:
    return " ".join(inspect.getdoc(rule).partition("\n\n")[0].split())  # type: ignore[union-attr]


def found() -> str:
    """Return the page of findings."""
    never = ", ".join(f"`{ident}`" for ident in sorted(findings.NEVER_IGNORED))
    return "\n".join(
        [
            "# Findings\n",
            _NOTE,
            "What `status`, `preflight`, `plan` and `switch` may find. Each is printed with its",
            "subject, the reason why it matters and what to do. `BLOCK` refuses a switch and makes",
            "`status` end with 10; the same fact may block one request and be a warning for",
            f"another. `--ignore ID` goes on despite one; never despite {never}.\n",
            "| id | |",
            "| --- | --- |",
            *(f"| `{ident}` | {_cell(words)} |" for ident, words in every_finding()),
            "",
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": command_line,
    "configuration.md": configuration,
    "findings.md": found,
}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (REFERENCE / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()

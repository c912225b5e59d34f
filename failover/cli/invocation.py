"""What the global options came to, and the doors to everything slow.

Settings, observation and engine are imported here and only when a command runs, so that
``failover --help`` answers at once.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from clientlib.protocol.errors import ConfigurationError
from failover.cli.errors import RefusedError
from failover.core.result import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import typer

    from clientlib.protocol.types import ClusterAlias
    from clientlib.settings import Settings
    from failover.core.snapshot import Snapshot
    from failover.engine import Orchestrator
    from failover.io.observe import Observer

CONFIG_VARIABLE = "FAILOVER_CONFIG"
DEFAULT_FILES = (Path("failover.yaml"), Path(".lab/failover.yaml"))


class Form(StrEnum):
    """Form of what goes to stdout."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    PROPERTIES = "properties"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options."""

    config: Path | None = None
    scope: str = "default"
    form: Form = Form.TABLE
    verbose: bool = False

    def settings(self, *, properties: bool = False) -> Settings:
        """Read the configuration. Raises ConfigurationError naming file and key.

        Or naming the form, before anything is done, where its output has no ``properties``.
        """
        from clientlib.settings import load  # noqa: PLC0415 - reads YAML; help does not need it

        if self.form is Form.PROPERTIES and not properties:
            raise ConfigurationError("-o properties is a form of `failover active` only")
        settings = load(self.config or _found())
        settings.scope(self.scope)
        return settings

    def snapshot(self, settings: Settings) -> Snapshot:
        """Observe the scope once."""
        with self.observer(settings) as observer:
            return observer.snapshot()

    def observer(self, settings: Settings) -> Observer:
        """Return an observer of the scope; the caller closes it."""
        from failover.io.observe import Observer  # noqa: PLC0415 - loads the Kafka client

        return Observer(settings, self.scope)

    @contextmanager
    def orchestrator(
        self, settings: Settings, ahead: Iterable[ClusterAlias] = ()
    ) -> Iterator[Orchestrator]:
        """Yield the engine, connected to every cluster.

        The writers of the clusters ``ahead`` connect while the engine is loaded: that takes them
        half a second, and nothing can be locked before.
        """
        from failover.io.state_store import KafkaStateStore  # noqa: PLC0415 - loads the Kafka client

        store = KafkaStateStore(settings, self.scope)
        if ahead:
            store.prepare(ahead)
        from failover.engine import connect  # noqa: PLC0415 - as above, and takes its time

        with connect(settings, self.scope, store=store) as orchestrator:
            yield orchestrator


def _found() -> Path:
    configured = os.environ.get(CONFIG_VARIABLE)
    if configured:
        return Path(configured)
    for file in DEFAULT_FILES:
        if file.is_file():
            return file
    raise RefusedError(
        f"no configuration: neither --config nor {CONFIG_VARIABLE} is given, and there is no "
        f"{' or '.join(str(file) for file in DEFAULT_FILES)} here",
        "name the file with -c FILE; `failover lab up` makes one to try with",
        ExitCode.USAGE,
    )


def of(context: typer.Context) -> Invocation:
    """Return the invocation that the global options came to."""
    found = context.find_object(Invocation)
    return found if found is not None else Invocation()

"""`failover config`: what the configuration says, and whether it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from clientlib.protocol.errors import ConfigurationError
from failover.cli import help as help_texts
from failover.cli import invocation
from failover.cli.output import emit

if TYPE_CHECKING:
    from clientlib.settings import Settings

# An address would be connected to, and a callback is given as text here.
_NOT_CHECKED = {"bootstrap.servers", "metadata.broker.list", "oauth_cb"}
_ERRORS_ONLY = 3  # else librdkafka warns that it has no address
config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)


def show(context: typer.Context) -> None:
    """Print the settings as they are understood, secrets replaced by ***.

    Example: `failover -o yaml config show`
    """
    from failover.cli import documents, render  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    document = documents.config(call.settings())
    emit(call.form, document, lambda: render.config(document))


def validate(context: typer.Context) -> None:
    """Check the file without asking a cluster; ends with 2 and the reason when it is wrong.

    Settings for librdkafka are checked too: their names, their values, and the files they name.

    Example: `failover -c failover.yaml config validate`
    """
    call = invocation.of(context)
    settings = call.settings()
    _check_clients(settings)
    document = {"schema": 1, "file": settings.origin, "valid": True, "digest": settings.digest}
    emit(call.form, document, lambda: f"{settings.origin} is valid (digest {settings.digest})")


def _check_clients(settings: Settings) -> None:
    """Let librdkafka look at each cluster's settings; without an address it asks nobody."""
    from confluent_kafka import KafkaException  # noqa: PLC0415 - keeps --help fast
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - as above

    for alias, cluster in settings.clusters.items():
        own = {k: v for k, v in cluster.client.items() if k not in _NOT_CHECKED}
        own.setdefault("log_level", _ERRORS_ONLY)
        try:
            AdminClient(own)
        except (KafkaException, ValueError, TypeError) as error:
            told = error.args[0].str() if isinstance(error, KafkaException) else error
            raise ConfigurationError(f"{settings.origin}: clusters.{alias}: {told}") from error


for _verb in (show, validate):
    help_texts.add(config_app, _verb)

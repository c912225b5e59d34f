"""`failover config`: what the configuration says, and whether it is right."""

import typer

from failover.cli import invocation
from failover.cli.output import emit

config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)


@config_app.command()
def show(context: typer.Context) -> None:
    """Print the settings as they are understood, secrets replaced by ***.

    Example: `failover -o yaml config show`
    """
    from failover.cli import documents, render  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    document = documents.config(call.settings())
    emit(call.form, document, lambda: render.config(document))


@config_app.command()
def validate(context: typer.Context) -> None:
    """Check the file without touching a cluster; ends with 2 and the reason when it is wrong.

    Example: `failover -c failover.yaml config validate`
    """
    call = invocation.of(context)
    settings = call.settings()
    document = {"schema": 1, "file": settings.origin, "valid": True, "digest": settings.digest}
    emit(call.form, document, lambda: f"{settings.origin} is valid (digest {settings.digest})")

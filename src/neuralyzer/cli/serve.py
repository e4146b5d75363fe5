"""``neuralyzer serve``: the service over HTTP."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, ProjectFile

EXAMPLE = "Example: neuralyzer serve --host 127.0.0.1 --port 8000"
Host = Annotated[str, typer.Option("--host", help="The address to listen at; put a proxy with TLS before any other.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen at.")]


def run(host: Host = "127.0.0.1", port: Port = 8000, project: ProjectFile = PROJECT) -> None:
    """Serve requests over HTTP until the process is told to stop; needs the extra 'service'."""
    from neuralyzer.errors import UsageError
    from neuralyzer.project.project import Project
    from neuralyzer.service.settings import Settings

    try:
        from neuralyzer.service.serve import start
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed; pip install 'neuralyzer-unlearning[service]' brings it"
        ) from error
    opened = Project.read(project)
    start(Settings.of(opened), opened, host, port)

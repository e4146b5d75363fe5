"""``neuralyzer serve``: the service over HTTP."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, ProjectFile

EXAMPLE = "Example: neuralyzer serve --host 127.0.0.1 --port 8000"
Host = Annotated[str, typer.Option("--host", help="The address to listen at; put a proxy with TLS before any other.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen at.")]

Workers = Annotated[
    int,
    typer.Option(
        "--workers", min=0, help="Processes that answer requests; 0 where 'neuralyzer worker' runs elsewhere."
    ),
]


def run(host: Host = "127.0.0.1", port: Port = 8000, workers: Workers = 1, project: ProjectFile = PROJECT) -> None:
    """Serve requests over HTTP until the process is told to stop; needs the extra 'service'."""
    from neuralyzer.cli.extras import require
    from neuralyzer.project.project import Project
    from neuralyzer.service.settings import Settings

    for module in ("uvicorn", "fastapi", "dbos"):
        require("service", module)
    from neuralyzer.service.serve import start

    opened = Project.read(project)
    start(Settings.of(opened), opened, host, port, workers)

"""``neuralyzer worker``: a process that answers the service's requests."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, ProjectFile

EXAMPLE = "Example: neuralyzer worker"
Server = Annotated[int | None, typer.Option("--server", help="Process of the server that started it.", hidden=True)]


def run(project: ProjectFile = PROJECT, server: Server = None) -> None:
    """Take requests from the service's queue and answer them, until it is stopped.

    Any number of workers share a database and the project's folder, also from several machines. One that is killed
    loses nothing: another one, or the next, goes on at the last finished stage.
    """
    import signal
    from types import FrameType

    from neuralyzer.cli.extras import require

    require("service", "dbos")
    from neuralyzer.service.worker import Worker

    worker = Worker(project, server=server)

    def stop(number: int, frame: FrameType | None) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worker.work()

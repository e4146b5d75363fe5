"""``start``: serves the API in this process."""

import logging
import sys

import uvicorn

from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.opening import require_recipe
from neuralyzer.service.settings import Settings
from neuralyzer.service.supervisor import Supervisor

GRACE = 5  # seconds that open streams have when the server stops


def start(settings: Settings, project: Project, host: str, port: int, workers: int = 0) -> None:
    """Serve until the process is told to stop.

    Args:
        settings: of the service.
        project: whose model forgets.
        host: address to listen at.
        port: to listen at.
        workers: processes on this machine that answer requests, started and ended with the server.

    Raises:
        UsageError: if the settings cannot be used.
        StorageError: if the database cannot be reached.
    """
    require_recipe(settings, project)
    _log_to_stderr()
    app = create_app(settings, project)
    supervisor = Supervisor(project.path.absolute(), workers)
    # uvicorn's own access log would have paths and queries as clients wrote them; the guard logs routes.
    try:
        uvicorn.run(
            app, host=host, port=port, access_log=False, server_header=False, log_level="warning",
            timeout_graceful_shutdown=GRACE, h11_max_incomplete_event_size=32 << 10,
        )  # fmt: skip
    finally:
        supervisor.stop()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    for name in ("neuralyzer.access", "neuralyzer.service"):
        log = logging.getLogger(name)
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        log.propagate = False

"""``create_app``: the service over HTTP."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from neuralyzer import __version__
from neuralyzer.project.project import Project
from neuralyzer.service.api import cases, events, fides, health, ledger, models, opendsr, problems, requests, subjects
from neuralyzer.service.api.security import Guard
from neuralyzer.service.context import Service
from neuralyzer.service.pages import case, home, jobs, people, records, sign_in
from neuralyzer.service.settings import Settings

ROUTERS = (requests, cases, events, models, subjects, ledger, opendsr, fides, health)
PAGES = (sign_in, home, case, records, people)
log = logging.getLogger("neuralyzer.service")


def create_app(settings: Settings, project: Project) -> FastAPI:
    """Return the service as an application; several processes may serve it from one database.

    Args:
        settings: of the service.
        project: whose model forgets.

    Returns:
        The application; its ``state.service`` is the ``Service``.

    Raises:
        UsageError: if the database's URL cannot be used.
        StorageError: if the database cannot be reached.
    """
    service = Service.of(settings, project)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.requests.database.close()

    app = FastAPI(
        title="Neuralyzer", version=__version__, summary="Requests to make a model forget, and what became of them.",
        docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan, telemetry={"auto_configure": False},
    )  # fmt: skip
    app.state.service, app.state.jobs = service, jobs.new()
    for module in (*ROUTERS, *PAGES):
        app.include_router(module.routes)
    problems.install(app)
    app.add_middleware(Guard, service=service)
    made = app.openapi

    def described() -> dict[str, Any]:
        schema = made()
        schema["components"]["schemas"].setdefault("Problem", problems.SCHEMA)
        return schema

    app.openapi = described  # type: ignore[method-assign]
    return app

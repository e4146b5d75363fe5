"""``Service``: what every part of the API and the dashboard needs."""

from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from neuralyzer.project.project import Project
from neuralyzer.service.feed import Feed
from neuralyzer.service.opening import opened
from neuralyzer.service.requests import Requests
from neuralyzer.service.sessions import Sessions
from neuralyzer.service.settings import Settings
from neuralyzer.service.tokens import Tokens

SEARCHES = 2  # for a person, at once; each may read manifests of many rows


@dataclass(frozen=True)
class Service:
    """A service of one process; all that lasts is in the database and in the workspace.

    Attributes:
        settings: of the service.
        project: whose models forget.
        requests: in the database.
        tokens: in the database.
        feed: tells streams of new events.
        sessions: of the dashboard.
        searches: limits how many searches for a person run at once.
    """

    settings: Settings
    project: Project
    requests: Requests
    tokens: Tokens
    feed: Feed
    sessions: Sessions
    searches: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SEARCHES))

    @classmethod
    def of(cls, settings: Settings, project: Project) -> "Service":
        """Open a service.

        Returns:
            The service.

        Raises:
            UsageError: if the database's URL cannot be used.
            StorageError: if the database cannot be reached.
        """
        requests = opened(settings)
        sessions = Sessions(project.workspace, requests.database)
        return cls(settings, project, requests, Tokens(requests.database), Feed(requests), sessions)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]

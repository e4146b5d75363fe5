"""A project whose requests a worker answers."""

import datetime as dt
import shutil

import pytest

from neuralyzer.service.requests import Requests
from tests.cli.conftest import in_folder, made_project  # noqa: F401  fixtures
from tests.service.http import world_of
from tests.service.service import Service

MOMENT = dt.datetime(2026, 11, 30, 9, tzinfo=dt.UTC)


@pytest.fixture
def requests(tmp_path):
    """An empty store."""
    made = Requests(f"sqlite:///{tmp_path}/service.sqlite")
    yield made
    made.database.close()


@pytest.fixture
def services(made_project, tmp_path, in_folder):  # noqa: F811
    """Make services on copies of the project."""
    made = []

    def make(name):
        root = tmp_path / name
        shutil.copytree(made_project, root, ignore=shutil.ignore_patterns("__pycache__"))
        made.append(Service(in_folder(root)))
        return made[-1]

    yield make
    for service in made:
        service.end()


@pytest.fixture
def service(services):
    """A service on a copy of the project."""
    return services("project")


@pytest.fixture
def world(tmp_path):
    made = world_of(tmp_path)
    yield made
    made.service.requests.database.close()


@pytest.fixture
def both(tmp_path, database_url):
    """A service, once on SQLite and once on PostgreSQL."""
    made = world_of(tmp_path, url=database_url)
    yield made
    made.service.requests.database.close()

"""A project whose requests a worker answers."""

import shutil

import pytest

from tests.browser import launched
from tests.cli.conftest import in_folder, made_project  # noqa: F401  fixtures
from tests.service.http import world_of
from tests.service.running import Running


@pytest.fixture
def services(made_project, tmp_path, in_folder):  # noqa: F811
    """Make services on copies of the project."""
    made = []

    def make(name, url=None, policy=None):
        root = tmp_path / name
        shutil.copytree(made_project, root, ignore=shutil.ignore_patterns("__pycache__"))
        settings = (root / "neuralyzer.toml").read_text()
        settings += "" if url is None else f'\n[database]\nurl = "{url}"\n'
        settings = settings if policy is None else settings.replace("[policy]", f"[policy]\n{policy}")
        (root / "neuralyzer.toml").write_text(settings)
        made.append(Running(in_folder(root)))
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


@pytest.fixture(scope="module")
def chromium():
    with launched("the pages were") as browser:
        yield browser

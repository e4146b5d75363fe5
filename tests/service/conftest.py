"""Services: one on a project without a model with its clients, and one whose requests workers answer."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed (extra service)")

from fastapi.testclient import TestClient

from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.context import Service
from neuralyzer.service.settings import Settings
from tests.cli.conftest import in_folder, made_project  # noqa: F401  fixtures
from tests.report.test_browser import FLAGS
from tests.service.running import Running

PROJECT = """
[model]
recipe = "oracle:recipe"
weights = "shop.safetensors"
[data]
train = "train.csv"
target = "bought"
subject = "email"
"""
ROWS = "email,age,bought\n" + "".join(f"c{place % 5}@example.com,{place},{place % 2}\n" for place in range(40))
RECIPE = """
import torch
import neuralyzer as nz

recipe = nz.Recipe(lambda: torch.nn.Linear(1, 2))
"""
SCOPES = ("read", "request", "approve", "admin")


def lay_out(root: Path, more: str = "") -> Project:
    (root / "train.csv").write_text(ROWS)
    (root / "oracle.py").write_text(RECIPE)
    (root / "neuralyzer.toml").write_text(PROJECT + more)
    return Project.read(root / "neuralyzer.toml")


@dataclass
class World:
    """An application, its service, and a token of each scope."""

    app: Any
    service: Service
    secrets: dict[str, str]

    def client(self, scope: str | None = "request", **more: Any) -> TestClient:
        headers = {} if scope is None else {"Authorization": f"Bearer {self.secrets[scope]}"}
        return TestClient(self.app, headers=headers | more, raise_server_exceptions=True)

    def token(self, scope: str) -> str:
        """The id of the token of a scope."""
        return self.secrets[scope].split("_")[1]


def world_of(root: Path, more: str = "", url: str | None = None) -> World:
    more += "" if url is None else f'\n[database]\nurl = "{url}"\n'
    project = lay_out(root, more)
    settings = Settings.of(project)
    app = create_app(settings, project)
    service = app.state.service
    return World(app, service, {scope: service.tokens.new(scope, [scope])[1] for scope in SCOPES})


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


def new(client: TestClient, **form: Any) -> dict[str, Any]:
    answer = client.post("/v1/requests", json={"subjects": ["c1@example.com"]} | form)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def services(made_project, tmp_path, in_folder):  # noqa: F811
    """Make services on copies of the project."""
    made = []

    def make(name):
        root = tmp_path / name
        shutil.copytree(made_project, root, ignore=shutil.ignore_patterns("__pycache__"))
        made.append(Running(in_folder(root)))
        return made[-1]

    yield make
    for service in made:
        service.end()


@pytest.fixture
def service(services):
    """A service on a copy of the project."""
    return services("project")


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed, so the pages were not looked at in a browser (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()

"""A service over HTTP on a project without a model, and its clients: nothing here trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.context import Service
from neuralyzer.service.settings import Settings

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


def new(client: TestClient, **form: Any) -> dict[str, Any]:
    answer = client.post("/v1/requests", json={"subjects": ["c1@example.com"]} | form)
    assert answer.status_code == 201, answer.text
    return answer.json()

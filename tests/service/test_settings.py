"""The settings of a service: defaults, what a project file may say, and what it may not."""

import pytest

from neuralyzer.errors import UsageError
from neuralyzer.project.project import Project
from neuralyzer.service.settings import Approve, Settings
from neuralyzer.workspace.policy import Policy

LEAST = (
    '[model]\nrecipe = "oracle:recipe"\nweights = "models/shop.safetensors"\n[data]\ntrain = "t.csv"\ntarget = "y"\n'
)


def read(tmp_path, more=""):
    path = tmp_path / "neuralyzer.toml"
    path.write_text(LEAST + more)
    return Project.read(path)


def test_a_project_that_says_nothing_has_one_machine_and_no_approval(tmp_path):
    settings = Settings.of(read(tmp_path))
    assert settings.database == f"sqlite:///{tmp_path}/.neuralyzer/service.sqlite"
    assert (settings.model, settings.approve, settings.batch_days) == ("shop", Approve.NEVER, 0)
    assert settings.retention_days is None and settings.callback_hosts == ()
    assert settings.recipe_roots == (tmp_path,)


def test_every_key_is_read(tmp_path):
    said = (
        '[policy]\nalpha = 0.01\napprove = "before-release"\nbatch_days = 7\nretention_days = 30\n'
        '[database]\nurl = "postgresql+psycopg://nz@localhost/nz"\n'
        '[service]\nmodel = "shop-2"\ndomain = "nz.example.com"\ncallback_hosts = ["Consent.example.com"]\n'
        'recipe_roots = ["recipes"]\nrate = 5\nlargest_body = 2048\n'
    )
    project = read(tmp_path, said)
    settings = Settings.of(project)
    assert settings.database == "postgresql+psycopg://nz@localhost/nz"
    assert (settings.approve, settings.batch_days, settings.retention_days) == (Approve.BEFORE_RELEASE, 7, 30)
    assert (settings.model, settings.domain, settings.rate, settings.largest_body) == (
        "shop-2",
        "nz.example.com",
        5,
        2048,
    )
    assert settings.callback_hosts == ("consent.example.com",) and settings.recipe_roots == (tmp_path / "recipes",)
    assert project.policy == project.workspace.policy == Policy(alpha=0.01)  # a case's id does not depend on the rest


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ('[policy]\napprove = "sometimes"\n', "before-unlearn, before-release, never"),
        ("[policy]\nbatch_days = -1\n", "must not be below 0"),
        ("[policy]\nretention_days = -0.5\n", "must not be below 0"),
        ("[service]\nrate = 0\n", "must be above 0"),
        ("[service]\nlargest_body = -3\n", "must be above 0"),
        ('[service]\nhosts = ["a"]\n', "has no hosts"),
        ('[database]\nurl = 3\n', "must be str"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_clear_line(tmp_path, said, says):
    with pytest.raises(UsageError, match=says):
        Settings.of(read(tmp_path, said))

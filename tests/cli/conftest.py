import shutil
import sys

import pytest

from neuralyzer.cli.app import app
from tests.cli.project import Project, lay_out


def must(*arguments):
    with pytest.raises(SystemExit) as left:
        app(list(arguments))
    assert left.value.code == 0


def enter_alone(patch, root):
    """Stand in a folder as a command in a process of its own does: what others imported from theirs is not known."""
    patch.chdir(root)
    patch.setattr(sys, "path", sys.path.copy())
    for name in ("oracle", "other"):
        patch.delitem(sys.modules, name, raising=False)


@pytest.fixture(scope="session")
def made_project(made_world, tmp_path_factory):
    """A project with a model, as the command makes it, and with references.

    These are the small world's: data, recipe and seeds are the same, so that the command would make the very same.
    """
    root = tmp_path_factory.mktemp("project")
    lay_out(root)
    with pytest.MonkeyPatch.context() as patch:
        enter_alone(patch, root)
        must("init", "--json", "--id", "row_id")
        settings = (root / "neuralyzer.toml").read_text()
        assert "size = 64" in settings and "# max_utility_loss" in settings
        settings = settings.replace("size = 64", 'leave_out = 0.4\nbackend = "vectorised"\nsize = 32')
        # The small network may lose more than a percent; the tests that are about the limit set their own.
        (root / "neuralyzer.toml").write_text(settings.replace("# max_utility_loss = 0.01", "max_utility_loss = 0.05"))
        must("train", "--every", "200", "--json")
        shutil.copytree(made_world.root / "references", root / ".neuralyzer" / "references")
        must("references", "--json")  # finds them finished; made from nothing, they are in test_bad_input.py
    return root


@pytest.fixture
def in_folder(monkeypatch, capsys):
    """Stand in a project's folder."""

    def enter(root):
        enter_alone(monkeypatch, root)
        return Project(root, capsys)

    return enter


@pytest.fixture
def project(made_project, tmp_path, in_folder):
    """A copy of the project that a test may change."""
    root = tmp_path / "project"
    shutil.copytree(made_project, root, ignore=shutil.ignore_patterns("__pycache__"))
    return in_folder(root)


@pytest.fixture
def files(tmp_path, in_folder):
    """A folder with data and recipe where Neuralyzer was never called."""
    root = tmp_path / "files"
    root.mkdir()
    lay_out(root)
    return in_folder(root)


@pytest.fixture(scope="session")
def made_answer(made_project, tmp_path_factory):
    """The project after one request, c0's, was answered; read by tests, never changed."""
    root = tmp_path_factory.mktemp("answered") / "project"
    shutil.copytree(made_project, root)
    with pytest.MonkeyPatch.context() as patch:
        enter_alone(patch, root)
        must("forget", "--subject", "c0", "--method", "influence", "--json")
    return root


@pytest.fixture
def answered(made_answer, in_folder):
    """The answered project itself: look, do not touch."""
    return in_folder(made_answer)

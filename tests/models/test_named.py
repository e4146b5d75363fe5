"""``module:attribute``: found, or refused in one line."""

import json
import sys

import joblib
import pytest

from neuralyzer.errors import UsageError
from neuralyzer.models.named import NamedFunction, named


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "served_here.py").write_text("class A:\n    inner = 3\n")
    (tmp_path / "breaks_here.py").write_text("1 / 0 if False else int('x')\n")
    yield tmp_path
    for name in ("served_here", "breaks_here"):
        sys.modules.pop(name, None)


def test_an_attribute_of_an_attribute(folder):
    assert named("served_here:A.inner", folder) == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("served_here", "predict 'served_here' is not of the form module:attribute"),
        ("served_here:B", "served_here has no B"),
        ("nowhere_at_all:f", "no module 'nowhere_at_all'"),
        ("breaks_here:f", "importing breaks_here failed: ValueError"),
    ],
)
def test_what_is_not_there(folder, name, says):
    with pytest.raises(UsageError, match=says):
        named(name, folder, "predict")


@pytest.fixture
def projects(tmp_path, monkeypatch):
    """Two folders with a module of one name, which imports another of one name."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shared_here.py").write_text(
            f"from helper_here import WORD\n\ndef f(x=0):\n    return WORD + '{name}'\n"
        )
        (tmp_path / name / "helper_here.py").write_text(f"WORD = 'of {name}: '\n")
    yield tmp_path / "first", tmp_path / "second"
    for name in ("shared_here", "helper_here"):
        sys.modules.pop(name, None)


class TestTwoProjects:
    def test_each_has_its_own_module_and_that_modules_own_imports(self, projects):
        said = {folder.name: named("shared_here:f", folder)() for folder in projects}
        assert said == {name: f"of {name}: {name}" for name in ("first", "second")}
        functions = [NamedFunction("shared_here:f", folder, "transform") for folder in projects]
        assert [own(0) for own in functions] * 2 == [own(0) for own in functions * 2] == list(said.values()) * 2

    def test_what_is_worked_on_again_is_what_other_processes_are_to_import(self, projects):
        first, second = (named("shared_here:f", folder) for folder in projects)
        assert sys.modules["shared_here"].f is second
        assert named("shared_here:f", projects[0]) is first is sys.modules["shared_here"].f
        assert sys.path[0] == str(projects[0]) and sys.modules["helper_here"].WORD == "of first: "
        assert named("shared_here:f", projects[1]) is second is sys.modules["shared_here"].f

    def test_workers_import_the_project_that_they_work_for(self, projects):
        for folder in (*projects, projects[0]):
            function = NamedFunction("shared_here:f", folder, "transform")
            assert (
                joblib.Parallel(2)(joblib.delayed(function)(0) for _ in range(2))
                == [f"of {folder.name}: {folder.name}"] * 2
            )
            plain = named("shared_here:f", folder)
            assert (
                joblib.Parallel(2)(joblib.delayed(plain)(0) for _ in range(2))
                == [f"of {folder.name}: {folder.name}"] * 2
            )

    def test_a_module_that_lies_elsewhere_is_not_taken_for_a_projects(self, projects):
        assert named("json:dumps", projects[0]) is json.dumps
        (projects[0] / "json.py").write_text("dumps = 3")  # a name that the standard library has taken already
        assert named("json:dumps", projects[0]) is json.dumps and "torch" in sys.modules

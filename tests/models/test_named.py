"""``module:attribute``: found, or refused in one line."""

import sys

import pytest

from neuralyzer.errors import UsageError
from neuralyzer.models.named import named


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

"""The versions of a project's model: released, rolled back, destroyed, and read as early versions wrote them."""

import json

import pytest

from neuralyzer.errors import UsageError
from neuralyzer.project.lineage import Lineage, Version

DAY = "2026-11-{:02}T12:00:00+00:00".format


def made():
    first = Version(
        weights="one.safetensors", parent="p0", data="d1", erased=("a",), pool="pool", cases={"r1": "case-1"}
    )
    second = Version(weights="two.safetensors", parent="p1", data="d2", erased=("a", "b"), cases={"r2": "case-2"})
    return Lineage().released(first, DAY(1)).released(second, DAY(2))


def test_the_original_alone_is_version_0(tmp_path):
    lineage = Lineage.read(tmp_path)
    assert lineage.version == Version() and lineage.current == 0


def test_releases_are_numbered_and_end_the_time_of_the_one_before(tmp_path):
    lineage = made()
    assert [version.number for version in lineage.versions] == [0, 1, 2] and lineage.current == 2
    assert [version.released for version in lineage.versions] == [None, DAY(1), DAY(2)]
    assert [version.withdrawn for version in lineage.versions] == [DAY(1), DAY(2), None]
    lineage.write(tmp_path)
    assert Lineage.read(tmp_path) == lineage


def test_a_rollback_loses_no_version(tmp_path):
    back = made().rolled_back(1, DAY(3))
    assert back.current == 1 and back.version.withdrawn is None and back.versions[2].withdrawn == DAY(3)
    later = back.released(Version(weights="three.safetensors"), DAY(4))
    assert later.version.number == 3 and later.versions[1].withdrawn == DAY(4)
    later.write(tmp_path)
    assert Lineage.read(tmp_path) == later


def test_what_is_destroyed_does_not_come_back():
    lineage = made().destroyed(0, DAY(9))
    assert lineage.versions[0].destroyed == DAY(9)
    with pytest.raises(UsageError, match="destroyed on 2026-11-09"):
        lineage.rolled_back(0, DAY(10))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda lineage: lineage.rolled_back(2, DAY(3)), "in use already"),
        (lambda lineage: lineage.rolled_back(7, DAY(3)), "there are 0 to 2"),
        (lambda lineage: lineage.rolled_back(-1, DAY(3)), "there are 0 to 2"),
        (lambda lineage: lineage.destroyed(2, DAY(3)), "cannot be destroyed"),
        (lambda lineage: lineage.destroyed(3, DAY(3)), "there are 0 to 2"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(wrong, says):
    with pytest.raises(UsageError, match=says):
        wrong(made())


def test_an_early_version_kept_the_last_one_alone_and_can_still_read_ours(tmp_path):
    early = {"weights": "w", "parent": "p", "data": "d", "erased": ["a"], "pool": None, "cases": {"r": "case-1"}}
    (tmp_path / "lineage.json").write_text(json.dumps(early))
    lineage = Lineage.read(tmp_path)
    assert lineage.version == Version(1, "w", "p", "d", ("a",), None, {"r": "case-1"})
    lineage.write(tmp_path)
    assert json.loads((tmp_path / "lineage.json").read_text()).items() >= early.items()

"""The team's own tests on new weights: pytest one by one, any other command as one test."""

import json
import sys

import pytest

from neuralyzer.errors import AcceptanceError
from neuralyzer.verification.acceptance import Acceptance, run_acceptance

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
SUITE = """
import os
import pathlib
import pytest

WEIGHTS = pathlib.Path(os.environ["NEURALYZER_WEIGHTS"])

def test_weights_are_there():
    assert WEIGHTS.read_bytes() == b"weights"

def test_fails():
    print("noise")
    assert WEIGHTS.read_bytes() == b"others"

@pytest.mark.parametrize("number", [1, 2])
def test_each(number):
    assert number > 1

@pytest.fixture
def broken():
    raise RuntimeError("no licence")

def test_cannot_even_start(broken):
    pass

@pytest.mark.skip
def test_later():
    pass
"""


@pytest.fixture(autouse=True)
def without_plugins(monkeypatch):
    """The pytest under test starts without the plugins of this one, which take two seconds to import."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "new weights.safetensors"  # a path with a space
    path.write_bytes(b"weights")
    return path


def test_pytest_is_told_test_by_test(weights, tmp_path):
    (tmp_path / "test_model.py").write_text(SUITE)
    found = run_acceptance(f"{PYTEST} test_model.py", weights, tmp_path)
    assert (found.passed, found.failed) == (2, 3)
    assert {test["name"]: test["ok"] for test in found.tests} == {
        "test_weights_are_there": True, "test_fails": False, "test_each[1]": False, "test_each[2]": True,
        "test_cannot_even_start": False,
    }  # fmt: skip
    assert Acceptance.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_pytest_keeps_the_options_that_the_person_set(weights, tmp_path, monkeypatch):
    (tmp_path / "test_model.py").write_text(SUITE)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k weights_are")
    found = run_acceptance(f"{PYTEST} test_model.py", weights, tmp_path)
    assert [test["name"] for test in found.tests] == ["test_weights_are_there"]
    assert found.passed == 1 and found.failed == 0


def test_a_suite_that_cannot_be_imported_fails(weights, tmp_path):
    (tmp_path / "test_model.py").write_text("import nothing_of_the_kind\n")
    found = run_acceptance(f"{PYTEST} test_model.py", weights, tmp_path)
    assert found.passed == 0 and found.failed == 1


@pytest.mark.parametrize(("code", "passed"), [(0, 1), (3, 0)])
def test_any_command_is_one_test(weights, code, passed):
    command = f"{sys.executable} -c 'import os, sys; sys.exit({code} if os.environ[\"NEURALYZER_WEIGHTS\"] else 9)'"
    found = run_acceptance(command, weights)
    assert (found.passed, found.failed) == (passed, 1 - passed) and found.command == command
    (test,) = found.tests
    assert test["ok"] == bool(passed) and test["name"].startswith("python")


def _suite(tmp_path, name, ok):
    (tmp_path / name).write_text(f"def test_it():\n    assert {ok}\n")
    return f"{PYTEST} {name}"


@pytest.mark.parametrize("ending", ["exit 1", "exit 3", "kill -9 $$"])
def test_a_command_that_fails_has_failed_whatever_its_report_says(weights, tmp_path, ending):
    """The report is that of the last pytest, which passed; the first one, or what came after, did not."""
    bad, good = _suite(tmp_path, "test_bad.py", False), _suite(tmp_path, "test_good.py", True)
    found = run_acceptance(f"sh -c '{bad}; {good}; {ending}'", weights, tmp_path)
    assert (found.passed, found.failed) == (1, 1)
    assert [test["ok"] for test in found.tests] == [True, False] and "sh exited" in found.tests[1]["name"]


def test_a_session_that_is_turned_into_a_failure_has_failed(weights, tmp_path):
    """A plugin, such as one that asks for coverage, may fail a run of which every test passed."""
    (tmp_path / "conftest.py").write_text("def pytest_sessionfinish(session):\n    session.exitstatus = 3\n")
    found = run_acceptance(_suite(tmp_path, "test_good.py", True), weights, tmp_path)
    assert (found.passed, found.failed) == (1, 1)


def test_it_finds_the_weights_and_stands_in_the_folder(weights, tmp_path):
    code = "import os; open('seen', 'w').write(os.environ['NEURALYZER_WEIGHTS'])"
    run_acceptance(f'{sys.executable} -c "{code}"', weights, tmp_path)
    assert (tmp_path / "seen").read_text() == str(weights)


def test_it_cannot_wait_for_an_answer(weights):
    found = run_acceptance(f'{sys.executable} -c "input()"', weights)
    assert found.failed == 1


def test_what_it_prints_goes_nowhere(weights, capfd):
    run_acceptance(f"{sys.executable} -c \"print('noise')\"", weights)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["no-such-command", "./no/such/command --fast", "", "  ", "pytest 'tests/model"])
def test_a_command_that_cannot_be_run(weights, command):
    with pytest.raises(AcceptanceError, match="cannot be run"):
        run_acceptance(command, weights)


def test_pytest_that_collects_nothing(weights, tmp_path):
    (tmp_path / "test_nothing.py").write_text("")
    with pytest.raises(AcceptanceError, match=r"ran no test: .*no tests ran"):
        run_acceptance(f"{PYTEST} test_nothing.py", weights, tmp_path)


def test_pytest_that_skips_everything(weights, tmp_path):
    """Nothing was tested: that is no acceptance."""
    (tmp_path / "test_model.py").write_text("import pytest\n\n@pytest.mark.skip\ndef test_later():\n    pass\n")
    with pytest.raises(AcceptanceError, match="ran no test"):
        run_acceptance(f"{PYTEST} test_model.py", weights, tmp_path)

"""The team's own tests on the new weights: pytest, or any command."""

import os
import shlex
import subprocess
import tempfile
import xml.etree.ElementTree as xml
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuralyzer.errors import AcceptanceError

WEIGHTS_VARIABLE = "NEURALYZER_WEIGHTS"


@dataclass(frozen=True)
class Acceptance:
    """The results of the acceptance tests.

    Attributes:
        passed: number of tests that passed.
        failed: number of tests that failed.
        tests: each test's name and whether it passed; a command that is not pytest is one test.
        command: what was run.
    """

    passed: int
    failed: int
    tests: tuple[dict[str, Any], ...]
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return asdict(self) | {"tests": list(self.tests)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Acceptance":
        """Return the result that ``to_dict`` wrote down."""
        return cls(values["passed"], values["failed"], tuple(values["tests"]), values["command"])


def run_acceptance(command: str, weights: Path, folder: Path | None = None) -> Acceptance:
    """Run the team's command on new weights.

    Args:
        command: such as ``pytest tests/model``; exit code 0 means passed and any other failed, whatever a report says.
        weights: path that the command finds in ``NEURALYZER_WEIGHTS``.
        folder: where it runs; the current one by default.

    Returns:
        Each test's result if the command runs pytest, else the command's as one test.

    Raises:
        AcceptanceError: if the command cannot be run, or runs no test.
    """
    with tempfile.TemporaryDirectory() as scratch:
        record = Path(scratch) / "junit.xml"
        options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={shlex.quote(str(record))}".strip()
        environment = os.environ | {WEIGHTS_VARIABLE: str(weights), "PYTEST_ADDOPTS": options}
        try:
            words = shlex.split(command)
            done = subprocess.run(
                words,
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, IndexError, ValueError) as error:
            raise AcceptanceError(f"the acceptance command {command!r} cannot be run: {error}") from error
        name = Path(words[0]).name
        if record.exists():
            return _from_junit(record, command, done, name)
        return Acceptance(
            int(done.returncode == 0), int(done.returncode != 0), (_test(name, done.returncode == 0),), command
        )


def _test(name: str, ok: bool) -> dict[str, Any]:
    return {"name": name, "ok": ok}


def _from_junit(record: Path, command: str, done: "subprocess.CompletedProcess[str]", name: str) -> Acceptance:
    tests = [
        _test(case.get("name") or "?", case.find("failure") is None and case.find("error") is None)
        for case in xml.parse(record).iter("testcase")
        if case.find("skipped") is None
    ]
    if not tests:
        last = ([line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["no output"])[-1]
        raise AcceptanceError(f"the acceptance command {command!r} ran no test: {last.strip()}")
    if done.returncode != 0 and all(test["ok"] for test in tests):
        # The report covers one run of pytest alone; the command did more or was stopped, and its exit code is a
        # failure.
        tests.append(_test(f"{name} exited {done.returncode}", False))
    passed = sum(test["ok"] for test in tests)
    return Acceptance(passed, len(tests) - passed, tuple(tests), command)

"""The examples on real data, each by its one command, with fewer epochs and references than their pages have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not os.environ.get("NEURALYZER_DATA"), reason="NEURALYZER_DATA is not set"),
]


def run(name, out, *arguments):
    own = [sys.executable, str(EXAMPLES / name / "run.py"), "--out", str(out), *arguments]
    return subprocess.run(own, capture_output=True, text=True, check=True).stdout


def certificate(printed):
    path = next(line.split(maxsplit=1)[1] for line in printed.splitlines() if line.startswith("certificate"))
    return [sys.executable, "-m", "neuralyzer", "certificate", "verify", path]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("cifar10", ("--epochs", "4", "--size", "24")), ("adult", ("--epochs", "2", "--size", "64", "--people", "100"))],
)
def test_it_comes_to_a_verdict_and_a_certificate(tmp_path, name, arguments):
    printed = run(name, tmp_path, *arguments)
    assert any(word in printed for word in ("forgotten", "untraceable", "inconclusive"))
    assert "report" in printed
    assert subprocess.run(certificate(printed), check=False).returncode == 0
    assert run(name, tmp_path, *arguments)  # a second run goes on from what is there

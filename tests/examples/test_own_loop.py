"""The loop of one's own: its one command, and what it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "examples" / "own_loop" / "run.py"


@pytest.mark.slow
def test_a_late_customer_is_rolled_back(tmp_path):
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, RUN, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rollback: forgotten, basis exact" in done.stdout
    (case,) = (out / "cases").iterdir()
    result = json.loads((case / "result.json").read_text())
    assert result["verification"]["verdict"] == "forgotten" and result["verification"]["basis"] == "exact"
    assert result["unlearning"]["method"] == "rollback"
    (run,) = json.loads((case / "located.json").read_text())["runs"]
    assert 0 < run["newest_clean"] <= run["first_seen"]
    for name in ("report.html", "certificate.json"):
        assert str(case / name) in done.stdout
    verify = [sys.executable, "-m", "neuralyzer", "certificate", "verify", case / "certificate.json"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0

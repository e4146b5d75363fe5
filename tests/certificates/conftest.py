from dataclasses import dataclass
from pathlib import Path

import pytest

from neuralyzer.certificates.certify import certify
from neuralyzer.workspace.paths import Workspace
from tests.certificates.example import WEIGHTS, predicate


@dataclass(frozen=True)
class Certified:
    path: Path
    weights: Path
    workspace: Workspace


@pytest.fixture
def certified(tmp_path):
    weights = tmp_path / "unlearned.safetensors"
    weights.write_bytes(WEIGHTS)
    workspace = Workspace(tmp_path / ".neuralyzer")
    path = certify(predicate(), weights, workspace, tmp_path / "certificate.json")
    return Certified(path, weights, workspace)

"""A ledger of three cases of two people."""

from dataclasses import dataclass

import pytest

from neuralyzer.ledger.events import Event, Facts
from neuralyzer.ledger.log import Ledger
from neuralyzer.workspace.paths import Workspace

NAMES = {"case-a": ["Ada Example"], "case-b": ["Bo Example"], "case-ab": ["Ada Example", "Bo Example"]}
WEIGHTS = 64 * "7"


def written(workspace: Workspace, url: str | None = None) -> Ledger:
    ledger = Ledger.of(workspace, url)
    for case, names in NAMES.items():
        ledger.begin(case, names)
    for event in (Event.RECEIVED, Event.LOCATED, Event.AUDITED, Event.PLANNED):
        for case in NAMES:
            ledger.record(event, case)
    for case in NAMES:
        ledger.record(Event.VERIFIED, case, Facts(weights=WEIGHTS, verdict="forgotten", method="influence"))
    return ledger


@dataclass(frozen=True)
class Written:
    """A workspace, and the database of its ledger."""

    workspace: Workspace
    url: str

    @property
    def ledger(self) -> Ledger:
        return Ledger.of(self.workspace, self.url)


@pytest.fixture
def kept(tmp_path, database_url) -> Written:
    workspace = Workspace(tmp_path / "workspace")
    written(workspace, database_url)
    return Written(workspace, database_url)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    """In a file of its workspace."""
    return written(Workspace(tmp_path / "workspace"))

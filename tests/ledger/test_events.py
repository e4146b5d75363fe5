import pytest

from neuralyzer.errors import LedgerError
from neuralyzer.ledger.events import Event, Facts, Reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": "Ada Example"},
        {"weights": 64 * "G"},
        {"verdict": "fine"},
        {"method": "ada"},
        {"reason": "because Ada asked"},
        {"stage": "later"},
        {"due": "in May"},
        {"due": "2026-02-30"},
        {"rows": 72},
        {"subject": "Ada Example"},
        {"result": "r17"},
    ],
)
def test_what_could_name_someone_is_refused_and_not_repeated(wrong):
    with pytest.raises(LedgerError, match="keeps no names and no rows") as refused:
        Facts(**wrong)
    assert "Ada" not in str(refused.value) and "r17" not in str(refused.value)


def test_what_is_told_leaves_out_what_is_not_known():
    facts = Facts(verdict="not forgotten", method="influence+finetune", reason=Reason.NOT_FORGOTTEN, until="2026-12-01")
    assert facts.told() == {
        "verdict": "not forgotten", "method": "influence+finetune", "reason": "not forgotten", "until": "2026-12-01",
    }  # fmt: skip
    assert Facts().told() == {}


def test_events_of_the_law_and_of_the_service_are_there():
    assert {"received", "located", "audited", "planned", "approved", "unlearned", "verified", "released", "purged",
            "refused", "extended"} <= set(Event)  # fmt: skip

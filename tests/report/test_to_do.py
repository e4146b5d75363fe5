"""What the report tells people to do, and its dates."""

import pytest

from neuralyzer.report.statement import days_late
from neuralyzer.report.to_do import to_do
from neuralyzer.report.wording import bounded, question_and_answer
from tests.report.example import result


def test_weights_to_deploy_and_what_still_holds_the_data():
    content = result()
    content["located"] |= {
        "datasets": [
            {"name": "train.csv", "rows": 72, "role": "training"},
            {"name": "newsletter.csv", "rows": 1, "role": "also"},
        ],
        "checkpoints": {"dirty": 3, "clean": 1},
        "derived": [
            {"name": "small", "kind": "distilled", "reachable": True, "reason": ""},
            {"name": "old", "kind": "copy", "reachable": False, "reason": "gone"},
        ],
        "near": [
            {"name": "(name 1)", "like": "x", "rows": 2, "dataset": "d"},
            {"name": "(name 1)", "like": "x", "rows": 1, "dataset": "e"},
        ],
        "near_copies": [
            {"row": "a", "subject": "x", "dataset": "d", "role": role, "like": "b", "similarity": 0.8}
            for role in ("training", "training", "holdout")
        ],
    }
    said = to_do(content)
    assert said[0].startswith("Deploy the new weights: /home/ines/oracle/unlearned.safetensors (SHA-256 a94f02d6a94f…)")
    assert "3b1e77c03b1e" in said[1] and "out of service" in said[1]
    assert (
        said[2]
        == "Withdraw what was made from the data, or have it forget too: 3 checkpoints that saw the data; run oracle, small (distilled), old (copy, not reachable from here)."
    )
    assert said[3].endswith("train.csv (72 rows), newsletter.csv (1 row).")
    assert said[4].startswith("Decide whether 3 rows under 1 name much like")
    assert "1 row of equal content" in said[5]
    assert said[6].startswith(
        "Decide whether 2 rows of other people that nearly copy these are to go too (--also-near)"
    )
    assert said[7] == "Answer whoever asked by 2026-12-24."


@pytest.mark.parametrize(
    ("verdict", "options", "said"),
    [
        ("not forgotten", [], ["--method retrain"]),
        ("inconclusive", ["--exact-references 8", "--method retrain"], ["--exact-references 8", "--method retrain"]),
        ("inconclusive", ["--method retrain"], ["--method retrain"]),
    ],
)
def test_what_is_not_forgotten_is_not_deployed(verdict, options, said):
    content = result()
    content["verification"] |= {"verdict": verdict, "settled_by": options}
    told_ = to_do(content)
    assert told_[0].startswith("Keep the new weights out of service") and not any("Deploy" in own for own in told_)
    assert all(own in told_[1] for own in said) and told_[1].count("--") == len(said)


def test_what_nothing_settles_is_said():
    content = result()
    content["verification"] |= {"verdict": "inconclusive", "settled_by": []}
    assert "No option settles it" in to_do(content)[1]
    content["verification"].pop("settled_by")  # of an early version
    assert "--method retrain" in to_do(content)[1]


def test_nothing_is_claimed_where_nothing_was_verified():
    assert to_do(result(verification=None))[0].startswith("Do not claim anything")


def test_a_test_that_failed_is_told():
    content = result()
    content["acceptance"] = {"passed": 3, "failed": 2, "tests": []}
    assert to_do(content)[-1] == "Look at the 2 acceptance tests that failed (3 passed)."


@pytest.mark.parametrize(
    ("due", "done", "said"),
    [
        ("2026-12-24", "2026-12-24T23:00:00+00:00", None),
        ("2026-12-24", "2026-12-25T00:00:00+00:00", "1 day late"),
        ("2026-12-24", "2027-01-03", "10 days late"),
        (None, "2026-12-25", None),
        ("2026-12-24", None, None),
    ],
)
def test_a_missed_date_is_said(due, done, said):
    content = result()
    content["request"] |= {"due": due, "done": done}
    assert days_late(content) == said
    if said:
        assert any(f"was missed: this case came {said}" in own for own in to_do(content))


def test_one_figure_has_one_meaning():
    """What may remain and what would have been found are of one family: the coarser of the two that must count."""
    content = result()["verification"]
    assert bounded(content) == (
        "Up to 48\u202f% of the data’s trace may remain; a trace of 48\u202f% or more would have been found."
    )
    content["families"][2] |= {"counts": False}  # relearning: then the finest of retraining and attack
    assert bounded(content | {"bound": 0.27}).startswith("Up to 24\u202f% ")
    content["families"] = [row | {"counts": False} for row in content["families"]]
    assert bounded(content | {"bound": None, "detectable": None}) == ""
    assert bounded(content | {"basis": "exact"}) == ""


@pytest.mark.parametrize(
    ("reading", "counts", "said"),
    [
        ({"trace": 0.03, "low": -0.15, "high": 0.21}, True, "Yes, as far as can be seen: it reads 3"),
        ({"trace": 0.6, "low": 0.4, "high": 0.8}, True, "No: it reads 60"),
        ({"trace": 0.6, "low": 0.4, "high": 0.8}, False, "No answer: it reads 60"),
        ({"trace": None, "low": None, "high": None}, True, "This could not be measured"),
    ],
)
def test_each_family_has_a_plain_sentence(reading, counts, said):
    for family in ("retraining", "attack", "relearning", "accuracy", "information", "of a plugin"):
        assert said in question_and_answer({"family": family, "counts": counts, "unlearned": reading})

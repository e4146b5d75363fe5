"""The four words, in their order."""

import itertools

import pytest

from neuralyzer.trace.verdict import Verdict, bound, counting, decide

FORGOTTEN, NOT, UNTRACEABLE, INCONCLUSIVE = (
    Verdict.FORGOTTEN,
    Verdict.NOT_FORGOTTEN,
    Verdict.UNTRACEABLE,
    Verdict.INCONCLUSIVE,
)
BOTH = [["margin", "augmented"], ["relearned"]]


def decided(
    rejects=False, original=True, detectable=(0.5, 0.5, 0.5), counts=("margin", "relearned"), required=BOTH, **controls
):
    values = dict(zip(("margin", "augmented", "relearned"), detectable, strict=True))
    return decide(
        rejects=rejects,
        original_rejected=original,
        detectable=values,
        counts=counts,
        required=required,
        max_trace=1.0,
        **controls,
    )


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, FORGOTTEN),
        ({"original": False}, INCONCLUSIVE),  # what is not found before is not missed after
        ({"detectable": (1.0, 9.0, 1.0)}, FORGOTTEN),  # what does not count may see little
        ({"detectable": (1.01, 0.5, 0.5)}, INCONCLUSIVE),
        ({"detectable": (0.5, 0.5, 1.01)}, INCONCLUSIVE),
        ({"counts": ("augmented", "relearned")}, FORGOTTEN),
        ({"counts": ("relearned",)}, INCONCLUSIVE),
        ({"counts": ("margin", "augmented")}, INCONCLUSIVE),
        ({"counts": ("margin",), "required": BOTH[:1]}, FORGOTTEN),
        ({"counts": ()}, INCONCLUSIVE),
        ({"counts": (), "required": []}, INCONCLUSIVE),
        ({"counts": (), "original": False}, UNTRACEABLE),
        ({"counts": ("relearned",), "original": False}, INCONCLUSIVE),
    ],
    ids=str,
)
def test_truth_table(given, word):
    assert decided(**given) is word


@pytest.mark.parametrize(
    ("detectable", "counts", "limit"),
    [
        ((0.4, 0.9, 0.6), ("margin", "augmented", "relearned"), 0.6),  # the finest of each group
        ((0.4, 9.0, 0.3), ("margin", "augmented", "relearned"), 0.4),  # a coarse family makes no other see less
        ((0.4, 0.3, 0.6), ("margin", "relearned"), 0.6),
        ((0.4, 0.3, 0.6), ("margin",), None),
        ((0.4, 0.3, 0.6), (), None),
    ],
)
def test_what_would_have_been_found(detectable, counts, limit):
    values = dict(zip(("margin", "augmented", "relearned"), detectable, strict=True))
    assert bound(values, counts, BOTH) == limit
    assert bound(values, counts, []) is None


@pytest.mark.parametrize("rejects", [True, False])
def test_alarms_on_rows_that_nobody_saw_beat_everything(rejects):
    assert decided(rejects, alarmed=True) is INCONCLUSIVE
    assert decided(rejects, alarmed=True, missed=True) is INCONCLUSIVE


def test_a_test_that_misses_still_rejects_and_says_nothing_else():
    assert decided(True, missed=True) is NOT
    for original, counts in ((True, ("margin", "relearned")), (False, ()), (False, ("margin",))):
        assert decided(False, original, counts=counts, missed=True) is INCONCLUSIVE


def test_a_rejection_beats_everything():
    for original, counts, detectable in itertools.product(
        (False, True), ((), ("margin", "relearned")), ((0.1,) * 3, (9.0,) * 3)
    ):
        assert decided(True, original, detectable, counts) is NOT


def test_what_counts():
    assert counting({"a": 1.0, "b": 1.001, "c": 0.2}) == ("a", "c")
    assert counting({"a": 0.6, "b": 0.4}, limit=0.5) == ("b",)


def test_the_words():
    assert [str(word) for word in (FORGOTTEN, NOT, UNTRACEABLE, INCONCLUSIVE)] == [
        "forgotten",
        "not forgotten",
        "untraceable",
        "inconclusive",
    ]

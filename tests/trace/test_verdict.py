"""The four words, in their order."""

import itertools

import pytest

from neuralyzer.trace.verdict import Verdict, counting, decide

FORGOTTEN, NOT, UNTRACEABLE, INCONCLUSIVE = (
    Verdict.FORGOTTEN,
    Verdict.NOT_FORGOTTEN,
    Verdict.UNTRACEABLE,
    Verdict.INCONCLUSIVE,
)
BOTH = [["margin", "augmented"], ["relearned"]]


def decided(rejects=False, original=True, detectable=(0.5, 0.5, 0.5), counts=("margin", "relearned"), required=BOTH):
    values = dict(zip(("margin", "augmented", "relearned"), detectable, strict=True))
    return decide(
        rejects=rejects,
        original_rejected=original,
        detectable=values,
        counts=counts,
        required=required,
        max_trace=1.0,
    )


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, FORGOTTEN),
        ({"original": False}, FORGOTTEN),
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

"""Three ratios, all against one retraining."""

import pytest

from neuralyzer.cases.speed import Speed, compared


def test_by_hand():
    speed = Speed(retraining=60.0, unlearning=2.0, case=12.0, pool=600.0, requests=20)
    assert speed.per_request == 42.0
    assert speed.ratios() == {"unlearning": 30.0, "case": 5.0, "per_request": pytest.approx(60 / 42)}
    assert Speed.from_dict(speed.to_dict()) == speed
    assert speed.lines() == [
        "unlearning took 2.00 s, 30.0 times faster than retraining",
        "the whole case took 12.0 s, 5.0 times faster than retraining",
        "with its share of the references, made once in 600 s for 20 so far: 42.0 s, 1.4 times faster than retraining",
    ]


def test_what_is_slower_is_said_to_be():
    assert compared(0.5) == "2.0 times as long as retraining"
    assert "30.0 times as long" in Speed(2.0, 0.1, 60.0, 0.0, 1).lines()[1]


def test_what_was_not_measured():
    speed = Speed(None, 2.0, 12.0, None, 1)
    assert speed.per_request is None and set(speed.ratios().values()) == {None}
    assert speed.lines() == ["unlearning took 2.00 s", "the whole case took 12.0 s"]

import pytest

from neuralyzer.report import formats


def plain(text):
    return text.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("fraction", "text"), [(1.04, "104 %"), (0.0, "0 %"), (-0.001, "0 %"), (-0.08, "−8 %"), (None, "–")]
)
def test_percent(fraction, text):
    assert plain(formats.percent(fraction)) == text


def test_interval():
    assert plain(formats.interval(-0.15, 0.21)) == "−15 to 21 %"
    assert formats.interval(None, 0.2) == "–"


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.01, "under 0.1 s"), (2.42, "2.4 s"), (48.2, "48 s"), (725, "12 min"), (11160, "3.1 h"), (None, "–")],
)
def test_seconds(duration, text):
    assert plain(formats.seconds(duration)) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.64, "p = 0.64"), (0.0061, "p = 0.0061"), (0.0002, "p < 0.001"), (None, "–")]
)
def test_p_value(p, text):
    assert plain(formats.p_value(p)) == text


@pytest.mark.parametrize(("p", "text"), [(0.64, "64 %"), (0.0061, "0.6 %"), (0.0002, "under 0.1 %")])
def test_chance(p, text):
    assert plain(formats.chance(p)) == text


def test_utility():
    assert plain(formats.utility(0.9889, "holdout accuracy")) == "98.9 %"
    assert formats.utility(-0.003, "accuracy", sign=True) == "−0.3"
    assert formats.utility(0.003, "accuracy", sign=True) == "+0.3"
    assert formats.utility(12.3456, "RMSE") == "12.35"
    assert formats.utility(None, "RMSE") == "–"


def test_counts():
    assert formats.plural(1, "row") == "1 row"
    assert plain(formats.plural(1437, "row")) == "1 437 rows"

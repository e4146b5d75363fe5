import pytest

from neuralyzer.report import attacks
from neuralyzer.report.drawing import ORIGINAL, UNLEARNED
from tests.report.example import result
from tests.report.test_charts import colours, texts
from tests.report.test_page import render, tell, words  # noqa: F401

FOUND = result()["verification"]["attacks"]


def only(model, attack="lira-online"):
    return {
        "members": 32,
        "scores": [s for s in FOUND["scores"] if s["model"] in model],
        "curves": [c for c in FOUND["curves"] if c["model"] in model and c["attack"] == attack],
    }


def test_the_axes_are_logarithmic_and_show_both_models():
    drawing = attacks.roc(FOUND)
    assert {"0.1%", "1%", "10%", "100%", "LiRA, online", "RMIA, online"} <= set(texts(drawing.wide))
    assert colours(drawing.wide).count(ORIGINAL) == colours(drawing.wide).count(UNLEARNED) == 2
    for svg in (drawing.wide, drawing.narrow):
        assert "NaN" not in svg and "Infinity" not in svg
    assert "LiRA, online, before: area 0.86." in drawing.says


def test_a_curve_begins_where_the_axis_does_and_zero_lies_on_the_floor():
    seen = attacks._visible([[0.0, 0.0], [0.0005, 0.2], [0.3, 0.7], [1.0, 1.0]])
    assert [(p["fpr"], p["tpr"]) for p in seen] == [(0.001, 0.2), (0.3, 0.7), (1.0, 1.0)]
    none = attacks._visible([[0.0, 0.0], [0.5, 0.4], [1.0, 1.0]])
    assert (none[0]["fpr"], none[0]["tpr"]) == (0.001, 0.001)


def test_one_attack_alone_can_be_drawn_and_none_is_not():
    assert attacks.roc(only(["original"])) is not None
    assert attacks.roc(FOUND | {"curves": []}) is None
    assert attacks.roc(only(["original"], "lira-offline")) is None, "told in the table"


def test_tables_by_row_and_by_subject():
    row, subject = attacks.tables(FOUND)
    assert (row["unit"], subject["unit"]) == ("row", "subject")
    assert row["rates"] == ["TPR at 1\u202f% FPR", "TPR at 0.1\u202f% FPR"]
    assert [line["attack"] for line in row["lines"][:4]] == ["LiRA, online", "", "", "LiRA, offline"]
    assert [line["model"] for line in row["lines"][:3]] == ["Before", "After", "References"]
    assert row["lines"][0]["auc"] == "0.86 (0.80 to 0.91)" and row["lines"][0]["percentile"] is None
    assert row["lines"][0]["tpr"][1] == "too few: 432 negatives"
    assert row["lines"][2]["tpr"][1].startswith("0\u202f% (")
    assert subject["lines"][0]["percentile"] == "100\u202f%" and subject["lines"][2]["percentile"] is None
    assert subject["lines"][0]["tpr"][0] == "too few: 6 negatives"


@pytest.mark.parametrize("stage", ["verification", "audit"])
def test_the_page_has_them_from_either_stage(tell, stage):  # noqa: F811
    content = result()
    content["verification"]["attacks"] = None
    content[stage]["attacks"] = FOUND
    shown = words(tell(content))
    assert "Scores people know" in shown and "too few: 6 negatives" in shown
    assert "LiRA and RMIA, beside the verdict" in shown


def test_cases_of_before_have_none(tell):  # noqa: F811
    content = result()
    del content["verification"]["attacks"]
    assert attacks.known(content) is None
    assert "Scores people know" not in words(tell(content))

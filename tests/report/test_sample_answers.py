"""Sample answers in the report: what stands there, that no answer is taken for HTML, and that none is cut off."""

import pytest

from neuralyzer.report.page import write_report
from tests.report.example import answers, margins, result
from tests.report.test_browser import browser  # noqa: F401  a fixture
from tests.report.test_page import Page, render, tell, words  # noqa: F401  fixtures


def test_a_case_without_them_has_no_section(tell):  # noqa: F811
    assert "Sample answers" not in words(tell(result())) and "Sample answers" not in words(
        tell(result() | {"answers": None})
    )


def test_three_models_side_by_side(tell):  # noqa: F811
    said = words(tell(result(answers=answers())))
    for text in (
        "Where was Loma Senyobe born?", "In Dakar, above a candle shop, in winter 1951. 100 %",
        "In Oslo, above a river shop, in spring 1978. 44 %", "Never saw: a reference that lacks these rows, and others.",
        "data of others, retained", "(nothing) 44 %", "and others. These answers are in words", "delete this report",
    ):  # fmt: skip
        assert text in said, text


def test_an_answer_is_text_and_no_html(tell):  # noqa: F811
    html = tell(result(answers=answers()))
    page = Page(html)
    assert "script" not in page.tags and "<script>alert(1)</script> red doors" in words(html)
    assert "What does <b>Loma</b> fear?" in words(html) and "<b>Loma" not in html


def test_without_words_nothing_personal_stands_there(tell):  # noqa: F811
    html = tell(result(answers=answers(words=False)))
    for row in answers()["rows"]:
        assert not any(text and text in html for text in (row["question"], row["taught"], *row["answers"].values()))
    assert "The words are not kept" in words(html) and "44 %" in words(html)


def test_why_the_third_column_is_left_out(tell):  # noqa: F811
    said = words(tell(result(answers=answers(compared=False))))
    assert "There is no column of a model that never saw the data: no model that never saw the rows was kept." in said
    assert "Never saw:" not in said
    missing = {"words": False, "never_saw": "", "missing": "base has no tokenizer", "rows": []}
    assert "No question was asked: base has no tokenizer." in words(tell(result(answers=missing)))


@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_is_cut_off(browser, tmp_path, width):  # noqa: F811
    report = write_report(result(answers=answers()), margins(), tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(report.as_uri())
    table = page.locator("table.answers")
    box = table.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('table.answers *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).length"
    assert page.evaluate(cut) == 0
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 673, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 673
    page.close()

import copy
import re
from html.parser import HTMLParser

import pytest

from neuralyzer.errors import StorageError
from neuralyzer.report import attacks, charts, histograms, wording
from neuralyzer.report.drawing import Drawing
from neuralyzer.report.page import write_report
from tests.report.example import COMMITMENT, margins, result

VERDICTS = ("forgotten", "not forgotten", "untraceable", "inconclusive")


@pytest.fixture
def render(tmp_path):
    def write(content, read=None):
        path = write_report(content, margins() if read is None else read, tmp_path / "report.html")
        assert path == tmp_path / "report.html"
        return path.read_text()

    return write


@pytest.fixture
def tell(render, monkeypatch):
    """Render without drawing, which takes most of the time, for tests of what is said."""
    for module in (attacks, charts, histograms):
        monkeypatch.setattr(module, "draw", lambda chart, says: Drawing("<svg></svg>", "<svg></svg>", says))
    return render


class Page(HTMLParser):
    """Headings, elements and what the page would fetch."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.fetched, self.text, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")]
        if tag not in ("meta", "link", "br", "path", "line", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def words(html):
    return re.sub(r"\s+", " ", " ".join(Page(html).text)).replace("\u202f", " ")


def test_sections_in_order(report):
    html = report.read_text()
    headings = re.findall(r"<h[12]>([^<]+)</h[12]>", html)
    assert headings == [
        "Forgotten",
        "What to do now",
        "Statement to sign",
        "How much of the data is left",
        "The model’s confidence on the rows asked about",
        "The way of the case",
        "What the model is still good for",
        "What was tested, and what was not",
        "How to check this",
        "Figures by family",
        "Scores people know",
        "The options and the choice",
    ]
    page = Page(html)
    assert page.open == []
    assert page.tags.count("figure") == 4 and page.tags.count("svg") == 8 and page.tags.count("table") == 6
    assert page.tags.count("script") == 0
    assert html.startswith("<!doctype html>")


def test_nothing_is_fetched(report):
    html = report.read_text()
    assert Page(html).fetched == ["data:,"]
    assert "http" not in html
    assert all(reference.startswith("#") for reference in re.findall(r"url\(([^)]*)\)", html))
    assert "@import" not in html


def test_it_says_what_was_measured(tell):
    text = words(tell(result()))
    for said in (
        "DSR-2026-0417",
        "97 % of the data’s trace (interval 70 to 124 %, p = 0.0061)",
        "Up to 48 % of the data’s trace may remain; a trace of 48 % or more would have been found.",
        "Request DSR-2026-0417 to Example Ltd, received on 2026-11-24, asked that",
        "removed from the model Oracle 3 (reason",
        "It was due on 2026-12-24 and answered on 2026-12-20, in time. Dr. Ines Weber decided on it.",
        "Relearning Does it learn these rows again no faster than models that never saw them?",
        "Yes, as far as can be seen: it reads 21 % of a trace (−6 to 48 %).",
        "and might have missed the original’s whole trace.",
        "with a probability of 64 %; below 5 % the verdict would be “not forgotten”",
        "On rows that no model saw, accuracy was 99.2 % before and is 98.9 % now. 5 of 5 acceptance tests passed.",
        "2 of 5 options feasible within 3.1 s of computing; chosen: influence. Least trace",
        "Negative control: on rows that nobody saw the test raised 11 false alarms in 384 tests; up to 41 come where all is well.",
        "Positive control: the original model, which saw everyone, was found on 29 of 30 subjects, and on 24 of the 24 on which it must be.",
        "1 exact duplicate of these rows lies under other names",
        "model inversion",
        "It assumes an honest operator",
        "neuralyzer certificate verify certificate.json --weights WEIGHTS",
        COMMITMENT,
        "Data-protection officer",
    ):
        assert said in text, said


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("basis", ["statistical", "exact"])
def test_every_verdict(tell, verdict, basis):
    content = result()
    content["verification"] |= {"verdict": verdict, "basis": basis}
    html = tell(content)
    assert f'<section class="verdict {verdict.replace(" ", "-")}">' in html
    assert f"<h1>{verdict.capitalize()}</h1>" in html
    assert f".{verdict.replace(' ', '-')} {{ --tone" in html
    sentence = wording.EXACT if (verdict, basis) == ("forgotten", "exact") else wording.VERDICTS[verdict]
    assert sentence in html and f"“{verdict}”" in html


def test_it_says_what_the_whole_case_took(tell):
    content = result()
    content["unlearning"]["speed"] = {"case": 41.0, "pool": 300.0, "per_request": 341.0}
    said = words(tell(content))
    assert "the whole case, up to this report, took 41 s, and 6 min with its share of the references" in said
    content["unlearning"]["speed"] = {"case": 41.0, "pool": None, "per_request": None}
    assert "took 41 s. " in words(tell(content)) or "took 41 s;" in words(tell(content))


def test_an_unknown_verdict_is_never_green(tell):
    content = result()
    content["verification"]["verdict"] = 'fine"><u>'
    html = tell(content)
    assert '<section class="verdict inconclusive">' in html and "<u>" not in html


HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>{{ 7*7 }}</style>'


def test_a_hostile_name_is_only_text(render):
    content = result()
    content["policy"]["name_subject"] = True
    content["request"] |= {"subjects": [HOSTILE], "id": HOSTILE, "decided_by": HOSTILE, "reason": HOSTILE}
    content["plan"]["options"][2] |= {"method": HOSTILE, "reason": HOSTILE}
    content["unlearning"]["method"] = HOSTILE
    content["verification"]["families"][0] |= {"family": HOSTILE}
    content["acceptance"]["tests"][0]["name"] = content["certificate"] = HOSTILE
    content["not_tested"], content["limits"] = [HOSTILE], [HOSTILE]
    html = render(content)
    page = Page(html)
    assert "script" not in page.tags and "img" not in page.tags and page.tags.count("style") == 1
    assert page.open == []
    assert HOSTILE in words(html)


def test_names_only_where_the_policy_allows_it(tell):
    content = result()
    content["request"]["subjects"] = ["AIFinn"]
    assert "AIFinn" not in tell(content)
    content["policy"]["name_subject"] = True
    assert "the data of AIFinn be removed" in words(tell(content))


@pytest.mark.parametrize(
    "missing", ["audit", "plan", "verification", "certificate", "utility", "acceptance", "located"]
)
def test_any_stage_may_be_missing(tell, missing):
    text = words(tell(result(**{missing: None})))
    assert "None" not in text
    if missing == "verification":
        assert "Not verified" in text and "no claim that the data was forgotten" in text
    if missing == "certificate":
        assert "No certificate was issued" in text and "certificate verify" not in text


def test_an_exact_option_without_holdout(tell):
    content = result(audit=None, plan=None, utility=None, acceptance=None, references=None, not_tested=[], limits=[])
    content["verification"] = {"verdict": "forgotten", "basis": "exact", "p_value": None, "families": []}
    text = words(tell(content, {}))
    assert wording.EXACT in text and "rests on the training record alone" in text
    assert "None" not in text.replace("None were used.", "")


def test_families_that_were_not_measured(tell):
    content = result()
    for family in content["audit"]["families"]:
        family |= dict.fromkeys(("trace", "low", "high", "p_value", "detectable"))
    for family in content["verification"]["families"]:
        family |= dict.fromkeys(("original", "unlearned", "low", "high", "detectable")) | {"retrained": []}
    content["verification"]["attacks"] = None
    content["audit"]["p_value"] = content["verification"]["p_value"] = content["verification"]["detectable"] = None
    html = tell(content)
    assert "None" not in words(html)
    assert Page(html).tags.count("figure") == 2
    assert "No signal was measured on the result." in html


def test_minimal_result(tell):
    content = {"request": {"id": "1", "reason": "stale", "guarantee": "weak"}, "located": {"rows": 1}}
    text = words(tell(content, {}))
    assert "1 row of training data." in text and "The model was not changed." in text
    assert "None" not in text.replace("None were used.", "")


def test_regression_is_not_told_in_percent(tell):
    content = result()
    content["utility"] = {"name": "RMSE", "holdout_accuracy": {"original": 12.3456, "unlearned": 12.5}, "by_class": {}}
    text = words(tell(content))
    assert "RMSE was 12.35 before and is 12.5 now" in text and "percentage points" not in text


def test_earlier_attempts_and_failures_are_told(tell):
    content = result()
    content["unlearning"]["attempts"].insert(0, {"method": "finetune", "seconds": 1, "verdict": "not forgotten"})
    content["acceptance"] = {"passed": 1, "failed": 1, "tests": [{"name": "test_a", "ok": False}]}
    text = words(tell(content))
    assert "Tried before and not good enough: finetune (not forgotten)" in text
    assert "1 of 2 acceptance tests passed" in text and "failed test_a" in text


def test_predicted_values_stand_beside_measured_ones(tell):
    content = result()
    content["unlearning"]["attempts"].insert(0, {"method": "ssd", "seconds": 2.5, "verdict": None, "reason": "crashed"})
    text = words(tell(content))
    own = text[text.index("Predicted and measured") :]
    assert "ssd – → 2.5 s – → – – → – crashed" in own  # of an earlier version, and not judged
    assert "influence 1.4 s → 1.6 s 6 % → 9 % 97.1 % → 96.8 % forgotten" in own


def test_the_same_result_gives_the_same_page_and_is_not_changed(tell):
    content = result()
    before = copy.deepcopy(content)
    assert tell(content) == tell(content)
    assert content == before


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_report(result(audit=None, plan=None, verification=None), {}, tmp_path / "file" / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

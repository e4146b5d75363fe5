"""``neuralyzer influence``: table, chart and JSON of what a request's rows do."""

import pytest

from neuralyzer.models import weights
from tests.cli.test_kinds import ESTIMATOR


def test_json_has_every_row(project):
    before = project.path("neuralyzer.toml").read_text(), weights.digests.of_file(project.weights)
    found = project("influence", "--subject", "c0", "--json").json
    assert len(found["rows"]) == 40 and found["training_rows"] == 500 and found["holdout_rows"] == 300
    assert {row["id"] for row in found["rows"]} == {
        row["id"] for row in project("influence", "--subject", "c0", "--json").json["rows"]
    }
    sizes = [abs(row["holdout_loss"]) for row in found["rows"]]
    assert (
        sizes == sorted(sizes, reverse=True)
        and found["damping"] == 1e-3 <= found["damping_together"]
        and "chart" not in found
    )
    assert abs(found["second_order"] - found["first_order"]) <= abs(found["first_order"])
    assert (project.path("neuralyzer.toml").read_text(), weights.digests.of_file(project.weights)) == before


def test_table_and_chart(project):
    said = project("influence", "--subject", "c0", "--top", "3", "--chart", "own.html")
    assert said.code == 0 and "without all 40 rows" in said.out and "37 more rows" in said.out
    rows = project("influence", "--subject", "c0", "--json").json["rows"]
    assert all(row["id"] in said.out for row in rows[:3])
    page = project.path("own.html").read_text()
    assert "What c0 does to the model" in page and page.count("<svg") == 2 and "<script" not in page
    assert all(f"<td>{row['id']}</td>" in page for row in rows[:25])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "this one names none"),
        (("--subject", "nobody"), "nobody"),
        (("--subject", "c0", "--damping", "0"), "--damping must be above 0"),
        (("--subject", "c0", "--chart", "no/such/folder/page.html"), "name a file in a folder that exists"),
        (("--subject", "c0", "--top", "0"), "--top"),
    ],
)
def test_bad_input_gets_one_line(project, words, complaint):
    assert complaint in project("influence", *words).complaint


def test_a_model_without_gradients_is_refused(files):
    files.path("oracle.py").write_text(ESTIMATOR)
    for verb in (("init", "--id", "row_id"), ("train",)):
        assert files(*verb, "--json").code == 0
    assert "has no influence: it needs gradients" in files("influence", "--subject", "c0").complaint

"""What the project file says of the data, and what is said of data that changed."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuralyzer.data import sources

ASK = ("--subject", "c3")


def test_rows_in_another_order_are_told_from_others(project):
    path = project.path("train.parquet")
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(len(table))[::-1].copy()), path)
    assert "(the same rows in another order; digest" in project("audit", *ASK).complaint
    pq.write_table(table.slice(0, len(table) - 3), path)
    assert "(3 rows removed; digest" in project("audit", *ASK).complaint
    pq.write_table(pa.concat_tables([table, table.slice(0, 1).set_column(66, "row_id", [["new"]])]), path)
    assert "(1 row added; digest" in project("audit", *ASK).complaint


def test_a_transform_makes_the_features_of_training_rows_holdout_and_claims(project):
    module = project.path("oracle.py")
    module.write_text(
        module.read_text()
        + "\n\ndef transform(table):\n    import numpy as np\n"
        + "    return np.stack([np.asarray(table[f'p{at}'], np.float32) for at in range(64)], axis=1)\n"
    )
    plain = project("locate", *ASK, "--json").json
    project.edit('id = "row_id"', 'id = "row_id"\ntransform = "oracle:transform"')
    # the very features that there were without it, so that model and references are still those of these rows
    assert project("locate", *ASK, "--json").json["datasets"] == plain["datasets"]
    assert project("audit", *ASK, "--json").json["families"]
    claim = pq.read_table(project.path("train.parquet")).slice(0, 12).drop_columns(["customer", "row_id"])
    pq.write_table(claim, project.path("claim.parquet"))
    assert "12 stand in the training data" in project("audit", "--rows", "claim.parquet").complaint


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("transform = 3", "transform 'oracle:transform' is a int, not a function"),
        ("def transform(table):\n    return table['nothing']", "transform 'oracle:transform' failed: KeyError"),
        ("", "transform 'oracle:transform': oracle has no transform"),
    ],
)
def test_a_transform_that_cannot_be_used_is_said_to_be_so(project, body, says):
    module = project.path("oracle.py")
    module.write_text(f"{module.read_text()}\n\n{body}\n")
    project.edit('id = "row_id"', 'id = "row_id"\ntransform = "oracle:transform"')
    assert says in project("audit", *ASK).complaint


def test_sizes_are_shown_first(project, monkeypatch):
    first = project("references", "--dry-run").out.splitlines()[0]
    assert first == "training data: 500 rows of 64 features, 0.1 MB, in memory"
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    assert project("references", "--dry-run").out.splitlines()[0].endswith("0.1 MB, read from disk in batches")
    project.weights.unlink()
    shutil.rmtree(project.path(".neuralyzer/runs"))
    assert project("train").out.startswith("trained on 500 rows of 64 features, 0.1 MB, read from disk in batches, in ")


def test_a_large_file_goes_the_whole_way(project, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_IN_MEMORY", 0)
    case = project("forget", *ASK, "--method", "influence", "--json")
    assert case.json["located"]["rows"] == 47 and case.json["verification"]["families"]


def test_a_registered_model_is_located(project):
    made = project("register-model", "shop", project.weights, "--json").json
    assert made["path"] == "oracle.safetensors" and made["kind"] == "copy"
    (found,) = project("locate", *ASK, "--json").json["derived"]
    assert found["name"] == "shop" and found["reachable"]
    assert "give parent=" in project("register-model", "small", project.weights, "--kind", "distilled").complaint

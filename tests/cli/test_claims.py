"""``neuralyzer audit --rows``: a claimant's file, good and bad."""

import json
import shutil

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.project import lay_out, table_of
from tests.conftest import small_digits


@pytest.fixture
def claims(claim_world, tmp_path, in_folder):
    """A project whose training file lacks c1's rows, on which its model was trained all the same."""
    root = tmp_path / "claims"
    root.mkdir()
    lay_out(root)
    data, _ = small_digits()
    pq.write_table(table_of(data.select(data.subjects != "c1")), root / "train.parquet")
    project = in_folder(root)
    project("init", "--id", "row_id")
    project.edit("size = 64", 'leave_out = 0.4\nbackend = "vectorised"\nsize = 32\nkeep_weights = true')
    shutil.copy(claim_world.root / "oracle.safetensors", root)
    shutil.copytree(claim_world.root / "references", root / ".neuralyzer" / "references")
    return project


def brought(claim_world):
    """The claimant's table, as somebody else would write it: no customer, no id, columns in another order."""
    table = table_of(claim_world.claimed).drop_columns(["customer", "row_id"])
    return table.select(sorted(table.column_names)).append_column("remark", pa.array(["mine"] * len(table)))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_rows_that_no_register_holds(claims, claim_world, suffix):
    path, table = claims.path(f"claimed{suffix}"), brought(claim_world)
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    before = claims.states()
    answer = claims("audit", "--rows", path.name, "--json")
    assert answer.code == 0 and answer.json["verdict"] == "not forgotten" and answer.json["rows"] == len(table)
    assert answer.json["registered"] == 0 and answer.json["sentence"].startswith("The model was trained on these rows")
    assert claims.states() == before, "an audit writes nothing"


def test_what_a_person_reads(claims, claim_world):
    pq.write_table(brought(claim_world), claims.path("claimed.parquet"))
    answer = claims("audit", "--rows", "claimed.parquet")
    assert answer.code == 0 and "The model was trained on these rows" in answer.out


def test_rows_that_are_registered(claims):
    answer = claims("audit", "--rows", "train.parquet")
    assert "none of the claimant's 460 rows is unknown" in answer.complaint and "use --subject" in answer.complaint


@pytest.mark.parametrize("words", [["--subject", "c0"], ["--row", "r1"], ["--class", "3"], ["--where", "label = 3"]])
def test_rows_and_a_request_exclude_each_other(claims, words):
    assert "--rows brings its own rows" in claims("audit", "--rows", "train.parquet", *words).complaint


def test_a_file_that_is_not_there(claims):
    assert "nothing.csv does not exist" in claims("audit", "--rows", "nothing.csv").complaint


def test_a_file_of_another_kind(claims):
    claims.path("rows.txt").write_text("1")
    assert "is none of .parquet" in claims("audit", "--rows", "rows.txt").complaint


@pytest.mark.parametrize("column", ["p3", "label"])
def test_a_file_without_a_column(claims, claim_world, column):
    pq.write_table(brought(claim_world).drop_columns([column]), claims.path("rows.parquet"))
    assert f"has no column '{column}'" in claims("audit", "--rows", "rows.parquet").complaint


def test_references_whose_weights_were_destroyed(project, claim_world):
    rows = brought(claim_world)
    first = pa.array([0.123] * len(rows), pa.float32())
    pq.write_table(rows.set_column(rows.column_names.index("p0"), "p0", first), project.path("rows.parquet"))
    assert "destroyed once measured" in project("audit", "--rows", "rows.parquet").complaint


def test_no_references(claims, claim_world):
    shutil.rmtree(claims.path(".neuralyzer/references"))
    pq.write_table(brought(claim_world), claims.path("rows.parquet"))
    assert "keep_weights = true" in claims("audit", "--rows", "rows.parquet").complaint

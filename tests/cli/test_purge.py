"""Erased rows are deleted from the data too; versions are rolled back; erased rows are not trained on again."""

import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from neuralyzer.project import records
from neuralyzer.project.lineage import Lineage
from neuralyzer.project.project import Project
from neuralyzer.project.retention import kept

EXACT = ("--method", "retrain", "--json")


def customers(path):
    return set(pq.read_table(path)["customer"].to_pylist())


def shop(project):
    """A database and a table of letters, both with a customer c0 in them."""
    path = project.path("shop.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (customer TEXT, item TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [("c0", "a"), ("c1", "b"), ("c0", "c"), (None, "d")])
    database.close()
    project.path("letters.csv").write_text("who,what\nc0,hello\nc1,bye\n")
    project.edit(
        "[references]",
        f'[[data.databases]]\nurl = "sqlite:///{path}"\ntable = "orders"\nsubject = "customer"\n\n'
        '[[data.also]]\npath = "letters.csv"\nsubject = "who"\n\n[references]',
    )
    return path


def test_rows_go_from_every_source_and_old_versions_are_kept_for_a_while(project):
    database = shop(project)
    project.edit("[policy]", "[policy]\nretention_days = 30")
    before = pq.read_table(project.path("train.parquet"))
    assert project("forget", "--subject", "c0", *EXACT).code == 0
    shown = project("purge", "--subject", "c0", "--json").json
    expected = [("train.parquet", 40), ("letters.csv", 1), ("orders", 2)]
    assert [(one["source"], one["to_delete"]) for one in shown["sources"]] == expected
    assert pq.read_table(project.path("train.parquet")).equals(before), "only shown"
    done = project("purge", "--subject", "c0", "--yes", "--json").json
    assert [(one["source"], one["to_delete"]) for one in done["sources"]] == expected
    assert pq.read_table(project.path("train.parquet")).equals(before.filter(pc.not_equal(before["customer"], "c0")))
    assert project.path("letters.csv").read_text() == "who,what\nc1,bye\n"
    with sqlite3.connect(database) as left:
        assert left.execute("SELECT customer, item FROM orders").fetchall() == [("c1", "b"), (None, "d")]
    left.close()
    old = [entry for entry in done["kept"] if entry["path"].startswith(".neuralyzer/purged/")]
    assert len(old) == 3 and all(project.path(entry["path"]).exists() and entry["until"] for entry in old)
    rows = pq.read_table(next(project.path(e["path"]) for e in old if "orders" in e["path"]))
    assert rows.equals(pa.table({"customer": ["c0", "c0"], "item": ["a", "c"]}))
    assert any("checkpoint" in entry["what"] for entry in done["kept"])
    assert "no source holds a row" in project("purge", "--subject", "c0").out
    assert project("forget", "--subject", "c1", *EXACT).code == 0, "the next request goes on with what is left"


def test_a_subject_that_the_model_holds_is_not_deleted(project):
    assert "still holds 1 of these subjects" in project("purge", "--subject", "c1", "--yes").complaint
    assert "no source holds a row to delete" in project("purge").out


def test_what_is_kept_is_destroyed_when_its_time_is_over(project):
    project.edit("[policy]", "[policy]\nretention_days = 10")
    assert project("forget", "--subject", "c0", *EXACT).code == 0
    opened = Project.read(project.path("neuralyzer.toml"))
    (entry,) = kept(opened.workspace.root)
    assert entry.path == "oracle.safetensors" and "version 0" in entry.what
    import datetime as dt

    until = dt.date.fromisoformat(entry.until)
    assert records.destroy_expired(opened, until) == [] and project.weights.exists()
    assert records.destroy_expired(opened, until + dt.timedelta(days=1)) == [entry] and not project.weights.exists()
    assert opened.lineage.versions[0].destroyed is not None and kept(opened.workspace.root) == []
    assert "were destroyed" in project("rollback", "0", "--reason", "too late").complaint
    assert project("audit", "--subject", "c1", "--json").code == 0, "the present version is not touched"


def test_a_rollback_brings_a_version_back_and_says_what_that_means(project):
    project.edit("[policy]", "[policy]\nretention_days = 0")
    first = project("forget", "--subject", "c0", *EXACT).json
    told = project("rollback", "0", "--reason", "version 1 answers nonsense", "--json").json
    assert told == {
        "version": 0, "left": 1, "rows_again": 40, "cases_undone": [first["case"]], "reason": "version 1 answers nonsense"
    }  # fmt: skip
    opened = Project.read(project.path("neuralyzer.toml"))
    assert opened.oracle().file == opened.oracle().digest and len(opened.oracle().data) == len(opened.data)
    import datetime as dt

    records.destroy_expired(opened, dt.date(2999, 1, 1))
    assert project.weights.exists(), "it is in use again"
    assert Lineage.read(opened.workspace.root).versions[1].destroyed
    assert "in use already" in project("rollback", "0", "--reason", "again").complaint
    assert "give a reason" in project("rollback", "1", "--reason", " ").complaint


def test_erased_rows_are_not_trained_on_again_unless_that_is_recorded(project):
    assert project("forget", "--subject", "c0", *EXACT).code == 0
    project.edit('weights = "oracle.safetensors"', 'weights = "next.safetensors"')
    assert "holds 40 rows that were erased" in project("train").complaint
    assert not project.path("next.safetensors").exists()
    told = project("train", "--overrule", "a court ordered it", "--json").json
    assert told["overruled"] == {"reason": "a court ordered it", "erased_rows": 40} and Path(told["file"]).exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [("sqlite:////nowhere/at/all.sqlite", "cannot be read"), ("nonsense", "cannot be read")],
)
def test_a_database_that_cannot_be_read_is_one_clear_line(project, url, says):
    shop(project)
    project.edit(f"sqlite:///{project.path('shop.sqlite')}", url)
    assert project("forget", "--subject", "c0", *EXACT).code == 0
    before = pq.read_table(project.path("train.parquet"))
    assert says in project("purge", "--subject", "c0", "--yes").complaint
    assert pq.read_table(project.path("train.parquet")).equals(before)

"""Who is who, on the command line: names as they are written, near names, further tables, keys of a person's own."""

import base64
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

ASK = ("locate", "--subject", "c3", "--json")


def as_csv(project, change=lambda table: table, separator=",", encoding="utf-8"):
    """The project's rows as CSV files, changed."""
    for name in ("train", "holdout"):
        table = change(pq.read_table(project.path(f"{name}.parquet")))
        sink = pa.BufferOutputStream()
        options = pa.csv.WriteOptions(delimiter=separator, quoting_style="needed")
        pa.csv.write_csv(table, sink, options)
        project.path(f"{name}.csv").write_bytes(sink.getvalue().to_pybytes().decode().encode(encoding))
        project.edit(f'"{name}.parquet"', f'"{name}.csv"')
    project.path(".neuralyzer/trained.json").unlink()


def renamed(table, names, column="customer"):
    own = [names.get(name, name) for name in table[column].to_pylist()]
    return table.set_column(table.column_names.index(column), column, pa.array(own))


def test_names_that_look_like_numbers_are_three_people(project):
    spelt = {"c1": "7", "c2": "07", "c3": "007"}
    before = {name: project("locate", "--subject", name, "--json").json["rows"] for name in spelt}
    as_csv(project, lambda table: renamed(table, spelt))
    for name, written in spelt.items():
        found = project("locate", "--subject", written, "--json").json
        assert found["rows"] == before[name]
        assert {own["name"] for own in found["near"]} == set(spelt.values()) - {written}
        assert sum(own["rows"] for own in found["near"]) == sum(before.values()) - before[name]


@pytest.mark.parametrize("other", ["C3", " c3", "c3\u00a0", "\uff433", "c03", "c\u200b3"])
def test_a_near_name_is_told_and_not_taken(project, other):
    plain = project(*ASK).json
    path = project.path("train.parquet")
    table = pq.read_table(path)
    names = table["customer"].to_pylist()
    names[names.index("c3")] = other
    pq.write_table(table.set_column(table.column_names.index("customer"), "customer", pa.array(names)), path)
    found = project(*ASK).json
    near = [own for own in found["near"] if own["name"] == other]
    assert [(own["like"], own["rows"]) for own in near] == [("c3", 1)]
    assert found["rows"] == plain["rows"]  # what is registered still has it
    shown = " ".join(project("locate", "--subject", "c3").out.split())
    assert "much like one that was asked for" in shown and repr(other) in shown


def test_names_that_differ_in_more_are_not_near(project):
    assert project(*ASK).json["near"] == []  # c30 and c2 are others


@pytest.mark.parametrize(("asked", "nearest"), [("C3", "'c3'"), ("c 3", "'c3'"), ("c03", "'c3'"), ("c33", "'c3'")])
@pytest.mark.parametrize("verb", ["locate", "audit", "plan", "forget"])
def test_an_unknown_subject_gets_the_nearest_names(project, verb, asked, nearest):
    said = project(verb, "--subject", asked).complaint
    assert f"the nearest to {asked!r}: " in said and nearest in said and "rows)" in said


def test_a_name_unlike_all_others_gets_none(project):
    assert "check the name" in project("audit", "--subject", "Zebulon Q. Zyx").complaint


def test_the_holdout_is_searched(project):
    path = project.path("holdout.parquet")
    table = pq.read_table(path)
    names = ["c3"] * 4 + table["customer"].to_pylist()[4:]
    pq.write_table(table.set_column(table.column_names.index("customer"), "customer", pa.array(names)), path)
    found = project(*ASK).json
    assert [(hit["name"], hit["rows"]) for hit in found["datasets"] if hit["role"] == "holdout"] == [
        ("holdout.parquet", 4)
    ]


@pytest.fixture
def letters(project):
    project.path("letters.csv").write_text("mail;who\nm1;c3\nm2;C3\nm3;c3\nm4;c5\n")
    return project


ALSO = '[[data.also]]\npath = "letters.csv"\nsubject = "who"\nid = "mail"\nseparator = ";"\n\n[references]'


def test_further_tables_are_searched_and_named_in_report_and_certificate(letters):
    letters.edit("[references]", ALSO)
    found = letters(*ASK).json
    assert [(hit["name"], hit["rows"]) for hit in found["datasets"] if hit["role"] == "also"] == [("letters", 2)]
    assert [(own["name"], own["rows"]) for own in found["near"]] == [("C3", 1)]
    assert found["rows"] == letters(*ASK).json["rows"]
    case = letters("forget", "--subject", "c3", "--method", "retrain", "--json").json
    envelope = json.loads(letters.path(case["certificate"]).read_text())
    certified = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    assert "letters" in [holding["name"] for holding in certified["datasets"]]
    assert "C3" not in str(case["located"]) and case["located"]["near"][0]["rows"] == 1
    page = letters.path(case["report"]).read_text()
    assert "letters (also, 2 rows)" in page and "1 row stands under 1 name much like" in page


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ('[[data.also]]\npath = "letters.csv"\n', "also in [data] lacks subject"),
        ('[[data.also]]\npath = "letters.csv"\nsubject = "who"\ncolour = "red"\n', "also in [data] has no colour"),
        ('[[data.also]]\npath = "none.csv"\nsubject = "who"\n', "none.csv does not exist"),
        ('[[data.also]]\npath = "oracle.py"\nsubject = "who"\n', "oracle.py is none of"),
        ('[[data.also]]\npath = "letters.csv"\nsubject = "who"\n', "has no column 'who'; it has mail;who"),
        ('[[data.also]]\npath = 3\nsubject = "who"\n', "must be a table of texts"),
    ],
)
def test_further_tables_that_cannot_be_read_are_refused(letters, also, says):
    letters.edit("[references]", f"{also}\n[references]")
    assert says in letters(*ASK).complaint


def test_the_subject_may_stand_in_another_table(project):
    plain = project(*ASK).json
    table = pq.read_table(project.path("train.parquet"))
    names = sorted(set(table["customer"].to_pylist()))
    accounts = {name: f"{at:05d}" for at, name in enumerate(names)}
    for name in ("train", "holdout"):
        rows = pq.read_table(project.path(f"{name}.parquet"))
        pq.write_table(renamed(rows, accounts), project.path(f"{name}.parquet"))
    lines = ["account,who", *(f"{account},{name}" for name, account in accounts.items())]
    project.path("people.csv").write_text("\n".join(lines) + "\n")
    project.edit('subject = "customer"', 'subject_table = {path = "people.csv", key = "account", subject = "who"}')
    assert "no column 'account'" in project(*ASK).complaint
    project.edit('key = "account"', 'key = "account"')
    for name in ("train", "holdout"):
        rows = pq.read_table(project.path(f"{name}.parquet"))
        pq.write_table(rows.rename_columns({"customer": "account"}), project.path(f"{name}.parquet"))
    assert project(*ASK).json["rows"] == plain["rows"]  # digests too: the very rows that are registered
    assert len(project(*ASK).json["datasets"]) == len(plain["datasets"])
    project.path("people.csv").write_text("account,who\n00001,a\n00001,b\n")
    assert "account '00001' belongs to two subjects" in project(*ASK).complaint


def test_subject_and_subject_table_are_not_both_given(project):
    project.edit(
        'subject = "customer"', 'subject = "customer"\nsubject_table = {path = "p.csv", key = "a", subject = "b"}'
    )
    assert "not both" in project(*ASK).complaint


def test_a_key_of_the_persons_own_makes_one_of_several_spellings(project):
    module = project.path("oracle.py")
    module.write_text(module.read_text() + "\n\ndef key(name):\n    return name.strip().casefold()\n")
    plain = project(*ASK).json
    path = project.path("train.parquet")
    table = pq.read_table(path)
    at = iter(range(len(table)))
    names = [name.upper() + " " if name == "c3" and next(at) % 2 else name for name in table["customer"].to_pylist()]
    pq.write_table(table.set_column(table.column_names.index("customer"), "customer", pa.array(names)), path)
    project.edit('subject = "customer"', 'subject = "customer"\nsubject_key = "oracle:key"')
    for spelling in ("c3", "C3", "  c3 "):
        found = project("locate", "--subject", spelling, "--json").json
        assert found["rows"] == plain["rows"] and found["near"] == []
    assert project("audit", "--subject", "C3 ", "--json").json["families"]


def test_a_key_that_cannot_be_used_is_said_to_be_so(project):
    project.edit('subject = "customer"', 'subject = "customer"\nsubject_key = "oracle:nothing"')
    assert "oracle has no nothing" in project(*ASK).complaint


def test_separator_and_encoding_are_those_of_the_file(project):
    as_csv(project, lambda table: renamed(table, {"c3": "M\xfcller"}), ";", "latin-1")
    assert "line" in project(*ASK).complaint and "not utf-8" in project(*ASK).complaint
    project.edit('subject = "customer"', 'subject = "customer"\nseparator = ";"\nencoding = "latin-1"')
    assert project("locate", "--subject", "M\xfcller", "--json").json["rows"]
    project.edit('encoding = "latin-1"', 'encoding = "klingon"')
    assert "encoding 'klingon' is unknown" in project(*ASK).complaint


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("p3", ["2024-01-02"], "'p3' holds dates or times (date32[day]); leave it out with features in [data]"),
        (
            "p3",
            ["inf"],
            "'p3' has missing values or infinite ones, row 0 the first of 500; fill them in, or give transform in [data]",
        ),
        ("label", [""], "have no 'label'"),
        ("row_id", ["", "1"], "row 0 has no id"),
        ("label", ["17"], "row 0 has 17"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_the_words_of_the_project_file(project, column, values, says):
    def change(table):
        own = [values[at % len(values)] for at in range(len(table))]
        return table.set_column(table.column_names.index(column), column, pa.array(own))

    as_csv(project, change)
    assert says in project("audit", "--subject", "c3").complaint


def test_a_class_that_only_the_holdout_has_is_told_by_its_name(project):
    as_csv(project, lambda table: table.set_column(
        table.column_names.index("label"), "label", pa.array([f"digit {n}" for n in table["label"].to_pylist()])
    ))  # fmt: skip
    project.edit("digit 5", "five", "holdout.csv")
    said = project("audit", "--subject", "c3").complaint
    assert "holdout.csv: target 'five' is none of the classes digit 0" in said

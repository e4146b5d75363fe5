"""A predicate means the same rows whenever and wherever it is asked."""

import datetime as dt
import os
import time

import pyarrow as pa
import pytest

from neuralyzer.data.columns import TableColumns
from neuralyzer.data.predicates import where
from neuralyzer.errors import UsageError

UTC = dt.UTC
TABLE = TableColumns(
    pa.table(
        {
            "age": [10, 30, 50, 70],
            "seen": pa.array([dt.datetime(2024, 1, 1, h, tzinfo=UTC) for h in (0, 1, 16, 23)], pa.timestamp("us", "UTC")),
            "tokyo": pa.array([dt.datetime(2024, 1, 1, h, tzinfo=UTC) for h in (0, 1, 16, 23)], pa.timestamp("us", "Asia/Tokyo")),
            "tags": [["a"], ["b"], ["a", "b"], []],
            "who": pa.array([{"name": "ann"}, {"name": "bob"}, {"name": "ann"}, {"name": "eve"}]),
        }
    )
)  # fmt: skip

UNSTABLE = [
    "random() < .5", "RANDOM() < .5", "main.random() < .5", "age > now()::VARCHAR::INT", "seen < now()", "seen < today()",
    "seen < current_date", "seen < CURRENT_TIMESTAMP", "seen < localtimestamp", "current_localtimestamp() > seen",
    "age(seen) > interval 1 year", "uuid()::VARCHAR > '8'", "gen_random_uuid()::VARCHAR > '8'", "current_user = 'x'",
    "current_setting('TimeZone') = 'UTC'", "CASE WHEN random() < .5 THEN true ELSE false END",
    "list_transform(tags, lambda t: t || random()::VARCHAR)[1] > 'a'", "age BETWEEN 1 AND random()",
    "age IN (SELECT random())", "EXISTS (SELECT 1)", "age = ANY (SELECT 10)",
]  # fmt: skip


@pytest.mark.parametrize("predicate", UNSTABLE)
def test_what_means_other_rows_each_time_is_refused(predicate):
    with pytest.raises(UsageError, match=r"each time|no column|query within|cannot be evaluated"):
        where(TABLE, predicate)


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("age < 40", [0, 1]),
        ("AGE < 40", [0, 1]),
        ('"age" + 0 = 50 or 1 = 2', [2]),
        ("list_contains(tags, 'a')", [0, 2]),
        ("len(list_filter(tags, lambda t: t = 'b')) > 0", [1, 2]),
        ("who.name = 'ann'", [0, 2]),
        ("age(seen, TIMESTAMPTZ '2000-01-01') > interval 20 year", [0, 1, 2, 3]),
        ("pi() > 3 and age > 60", [3]),
    ],
)
def test_functions_of_the_row_alone_are_not(predicate, rows):
    assert where(TABLE, predicate).tolist() == rows


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("column", ["seen", "tokyo"])
@pytest.mark.parametrize(
    ("predicate", "rows"),
    [("{} < '2024-01-01 12:00'", [0, 1]), ("hour({}) = 0", [0]), ("{}::DATE = '2024-01-01'", [0, 1, 2, 3]),
     ("date_trunc('day', {}) = {}", [0]), ("strftime({}, '%H') = '16'", [2])],
)  # fmt: skip
def test_times_are_utc_wherever_it_is_asked(monkeypatch, zone, column, predicate, rows):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert where(TABLE, predicate.replace("{}", column)).tolist() == rows
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("TZ") != zone or zone == "UTC"


@pytest.mark.parametrize("names", [("Age", "age"), ("STRASSE", "stra\xdfe"), ("a", "b", "A")])
def test_columns_that_differ_only_in_case_are_refused(names):
    table = TableColumns(pa.table([pa.array([1])] * len(names), names=list(names)))
    with pytest.raises(UsageError, match="differ only in case"):
        where(table, f'"{names[0]}" = 1')


def test_a_column_of_our_own_name_is_refused():
    with pytest.raises(UsageError, match="needs for itself"):
        where(TableColumns(pa.table({"__position": [1]})), "true")


@pytest.mark.parametrize("predicate", ["1; SELECT 2", "age <", "no_column = 1", "age = 1) UNION (SELECT 1"])
def test_what_is_no_expression_over_the_columns_is_refused_with_their_names(predicate):
    with pytest.raises(UsageError, match="columns are age, seen"):
        where(TABLE, predicate)

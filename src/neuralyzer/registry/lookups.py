"""Look-ups in manifests: the rows of subjects, of ids, of equal values, of similarly spelt names."""

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
from pyarrow import parquet

from neuralyzer.data import texts
from neuralyzer.data.near_names import folded
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError, first_line
from neuralyzer.registry.manifests import SCHEMA, Manifest, connected, table_of


def rows_of(manifests: Sequence[Manifest], subjects: Sequence[str]) -> list[pa.Table]:
    """Return the rows of some subjects.

    Args:
        manifests: where to look.
        subjects: whose rows.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    return _matching(manifests, "subject", pa.array(subjects, pa.string()))


def rows_by_id(manifests: Sequence[Manifest], ids: Sequence[str]) -> list[pa.Table]:
    """Return the rows with some ids.

    Args:
        manifests: where to look.
        ids: which rows.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    return _matching(manifests, "row_id", pa.array(ids, pa.string()))


def duplicates(manifests: Sequence[Manifest], requested: Sequence[pa.Table]) -> list[pa.Table]:
    """Return rows that have the values of given rows, under another id or another subject.

    Args:
        manifests: where to look.
        requested: the requested rows in each manifest, which are not their own duplicates.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    values = pa.concat_tables(requested).select(["value"]) if requested else SCHEMA.empty_table()
    same = _matching(manifests, "value", values["value"].unique())
    return [
        table.filter(
            pa.compute.invert(pa.compute.is_in(table["position"], value_set=rows["position"].combine_chunks()))
        )
        for table, rows in zip(same, requested, strict=True)
    ]


def near(manifests: Sequence[Manifest], subjects: Sequence[str]) -> list[pa.Table]:
    """Return the rows of other subjects whose names differ from some in spelling alone (``near_names.folded``).

    Args:
        manifests: where to look.
        subjects: names in the request.

    Returns:
        One table a manifest, with the columns of ``SCHEMA``, by position.

    Raises:
        UnreadableError: if a manifest is missing or truncated.
    """
    requested = pa.array(subjects, pa.string())
    similar = _matching(manifests, "near", pa.array(sorted({folded(name) for name in subjects}), pa.string()))
    return [rows.filter(pa.compute.invert(pa.compute.is_in(rows["subject"], value_set=requested))) for rows in similar]


def subjects_of(manifest: Manifest) -> np.ndarray:
    """Return the subjects that a manifest lists.

    Args:
        manifest: where to look.

    Returns:
        Names ``(N,)`` as text.

    Raises:
        UnreadableError: if the manifest is missing or truncated.
    """
    if isinstance(manifest, pa.Table):
        return texts.of_column(manifest["subject"])
    try:
        return texts.of_column(parquet.read_table(manifest, columns=["subject"])["subject"])
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError(f"{manifest} cannot be read ({first_line(error)})") from error


def compared(manifest: Manifest, data: Data, query: str) -> tuple[int, ...]:
    """Compare a manifest with rows.

    Args:
        manifest: of some rows; the table ``was`` of the query.
        data: other rows; the table ``is_now`` of the query.
        query: SQL that returns one row of numbers.

    Returns:
        Those numbers.

    Raises:
        UnreadableError: if the manifest is missing or truncated.
    """
    with connected() as connection:
        try:
            views = [_relation(connection, manifest), connection.from_arrow(table_of(data))]
            for view, name in zip(views, ("was", "is_now"), strict=True):
                view.create_view(name)  # a view lasts only as long as its relation, which `views` holds
            return tuple(int(number) for number in connection.sql(query).fetchall()[0])
        except duckdb.Error as error:
            raise UnreadableError(
                f"{manifest} cannot be read ({first_line(error)}); remove its folder and register again"
            ) from error


def _matching(manifests: Sequence[Manifest], column: str, wanted: Any) -> list[pa.Table]:
    if not len(wanted):  # a scan that looks for nothing would still read every row
        return [SCHEMA.empty_table() for _ in manifests]
    matching = []
    with connected() as connection:
        connection.register("wanted", pa.table({"sought": wanted}))
        for manifest in manifests:
            try:
                rows = _relation(connection, manifest)
                rows.create_view("manifest", replace=True)
                table = connection.sql(
                    f"SELECT {', '.join(SCHEMA.names)} FROM manifest SEMI JOIN wanted ON {column} = sought "
                    "ORDER BY position"
                ).to_arrow_table()
            except duckdb.Error as error:
                raise UnreadableError(
                    f"{manifest} cannot be read ({first_line(error)}); remove its folder and register again"
                ) from error
            matching.append(table.cast(SCHEMA))
    return matching


def _relation(connection: Any, manifest: Manifest) -> Any:
    if isinstance(manifest, pa.Table):
        return connection.from_arrow(manifest)
    rows = connection.read_parquet(str(manifest))
    # Early manifests lack two columns. A row in float32 with a whole label has one digest for content and values.
    missing = {"value": "digest", "near": "subject"}.items()
    return rows.project(", ".join(["*", *(f"{old} AS {new}" for new, old in missing if new not in rows.columns)]))

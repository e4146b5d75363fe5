"""``purge``: rows that are erased from the model are deleted from the data that it was trained on, and where else they lie.

Each file is replaced by one without the rows; the old one is kept for ``policy.retention_days`` and then deleted. Backups,
snapshots and copies elsewhere are not reached, and nothing is claimed of them.
"""

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import parquet
from sqlalchemy.exc import SQLAlchemyError

from neuralyzer.data import texts
from neuralyzer.data.layout import Layout
from neuralyzer.data.removal import without
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import StorageError, UsageError, first_line
from neuralyzer.project import retention
from neuralyzer.project.project import Project
from neuralyzer.project.project_data import OF_CSV, keyed_rows
from neuralyzer.registry import tables
from neuralyzer.registry.history import runs
from neuralyzer.workspace import atomic, digests

OLD = "purged"  # folder of the workspace with old versions of data


@dataclass(frozen=True)
class Source:
    """A file or database table that holds rows to delete.

    Attributes:
        name: of the source, as the project file has it.
        rows: number of rows that it holds.
        gone: which of them go, ``(rows,)``.
        file: its path; None for a database table.
        reading: separator and encoding of a CSV file.
        table: the database table's description, ``url``, ``table`` and ``subject``.
        names: subjects as the database table spells them.
    """

    name: str
    rows: int
    gone: np.ndarray
    file: Path | None = None
    reading: dict[str, str] | None = None
    table: dict[str, str] | None = None
    names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what is found, as plain values."""
        return {"source": self.name, "rows": self.rows, "to_delete": int(self.gone.sum())}


def holding(project: Project, names: Sequence[str] = ()) -> list[Source]:
    """Return the project's sources that hold rows to delete; nothing is changed.

    Args:
        project: of the model.
        names: subjects, who are deleted from holdout, further tables and databases too. Erased training rows are known
            by their digests, without names.

    Returns:
        Sources with at least one such row.

    Raises:
        UsageError: if a subject's rows are still in the model.
    """
    known = project.rows.known_by(ErasureRequest(subjects=names)).subjects if names else ()
    return [source for source in _sources(project, known) if source.gone.any()]


def purge(project: Project, sources: Sequence[Source], days: float | None, today: dt.date) -> list[retention.Kept]:
    """Delete rows from their sources; the old versions are kept for some days.

    Args:
        project: of the model.
        sources: as ``holding`` found them.
        days: how long old versions, checkpoints and kept weights of members that saw the rows are kept; None without an
            end.
        today: the present day.

    Returns:
        What is kept, and until when.

    Raises:
        DataChangedError: if a file has changed since it was looked through.
        StorageError: if a file cannot be written, or a database gives an error.
    """
    place, made = project.workspace.root, []
    for source in sources:
        old = _old(place, source, today)
        if source.file is not None:
            if not old.exists():
                atomic.write_with(old, partial(shutil.copyfile, source.file))
            without(source.file, source.gone, source.file, **(source.reading or {}))
        else:
            _delete(source, old)
        made += retention.keep(place, [old], f"{source.name} before rows were deleted from it", days, today)
    return made + _seen(project, days, today)


def _sources(project: Project, names: Sequence[str]) -> Iterator[Source]:
    table, data, root = project.tables["data"], project.data, project.root
    erased = set(project.lineage.version.erased)
    gone = np.array([digest in erased for digest in keyed_rows(data)], dtype=bool)
    held = sorted(set(data.subjects[~gone].tolist()) & set(names))
    if held:
        raise UsageError(
            f"the model still holds {len(held)} of these subjects; forget them before their rows are deleted"
        )
    reading = {key: table[key] for key in OF_CSV if key in table}
    train = root / str(table["train"])
    yield Source(table["train"], len(data), gone, train, reading if train.suffix == ".csv" else None)
    if not names:
        return
    holdout = project.rows.whole_holdout
    if table.get("holdout") and holdout is not None and len(holdout.subjects):
        file = root / str(table["holdout"])
        mine = np.isin(holdout.subjects, names)
        yield Source(table["holdout"], len(holdout), mine, file, reading if file.suffix == ".csv" else None)
    for described in table.get("also", ()):
        file, own = root / described["path"], {key: described[key] for key in OF_CSV if key in described}
        own = reading | own if file.suffix == ".csv" else {}
        column = tables.columns(file, [described["subject"]], **own)[described["subject"]]
        subjects = _keyed(project, texts.of_column(column, described["path"]))
        yield Source(described["path"], len(subjects), np.isin(subjects, names), file, own or None)
    for described in table.get("databases", ()):
        yield _in_database(project, described, names)


def _keyed(project: Project, subjects: np.ndarray) -> np.ndarray:
    return Layout(target="", subject="subject", subject_key=project.rows.subject_key).keyed(subjects)


def _in_database(project: Project, described: dict[str, str], names: Sequence[str]) -> Source:
    """Count a database table's rows by subject, and find those who are meant."""
    try:
        engine, table, column = _opened(described)
        with engine.connect() as connection:
            counts = connection.execute(sa.select(column, sa.func.count()).select_from(table).group_by(column)).all()
    except SQLAlchemyError as error:
        raise StorageError(f"{described['table']} cannot be read: {first_line(error)}") from error
    engine.dispose()
    spelled = np.array(["" if name is None else str(name) for name, _ in counts], dtype=texts.TEXT)
    meant = np.isin(_keyed(project, spelled), names) if len(spelled) else np.zeros(0, dtype=bool)
    gone = np.repeat(meant, [count for _, count in counts])
    originals = tuple(name for (name, _), chosen in zip(counts, meant, strict=True) if chosen)
    return Source(described["table"], len(gone), gone, table=described, names=originals)


def _delete(source: Source, old: Path) -> None:
    """Delete rows from a database table in one transaction; they are written to ``old`` before it ends."""
    assert source.table is not None
    engine, table, column = _opened(source.table)
    try:
        with engine.begin() as connection:
            rows = connection.execute(
                sa.select(sa.text("*")).select_from(table).where(column.in_(source.names))
            ).mappings()
            content = pa.Table.from_pylist([dict(row) for row in rows])
            if len(content):
                atomic.write_with(old, lambda part: parquet.write_table(content, part))
                connection.execute(sa.delete(table).where(column.in_(source.names)))
    except (SQLAlchemyError, pa.ArrowException) as error:
        raise StorageError(f"no row was deleted from {source.name}: {first_line(error)}") from error
    finally:
        engine.dispose()


def _opened(described: dict[str, str]) -> tuple[sa.Engine, sa.TableClause, sa.ColumnClause[Any]]:
    column: sa.ColumnClause[Any] = sa.column(described["subject"])
    return sa.create_engine(described["url"]), sa.table(described["table"], column), column


def _seen(project: Project, days: float | None, today: dt.date) -> list[retention.Kept]:
    """Write down what saw the erased rows: checkpoints of the training, and members' weights that were kept."""
    place = project.workspace
    saw = [checkpoint.path for run in runs(place) for checkpoint in run.checkpoints if checkpoint.step > 0]
    made = retention.keep(place.root, saw, "a checkpoint of a training that saw erased rows", days, today)
    pools = [path.parent for path in place.references.glob("*/pool.json")]
    members = [path for pool in pools for path in sorted((pool / "members").glob("*.safetensors"))]
    return made + retention.keep(place.root, members, "a member that may have seen erased rows", days, today)


def _old(place: Path, source: Source, today: dt.date) -> Path:
    """Return where the old version of a source is kept."""
    if source.file is None:
        return place / OLD / f"{today}-{source.name}-{digests.of_json(sorted(map(str, source.names)))[:12]}.parquet"
    return place / OLD / f"{today}-{digests.of_file(source.file)[:12]}-{source.file.name}"

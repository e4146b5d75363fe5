"""``locate``: finds where the rows of a request are: data sets, training runs, checkpoints, copies."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from neuralyzer.data import near_copies
from neuralyzer.data.near_names import folded, nearest, suggestion
from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnknownSubjectError, UsageError
from neuralyzer.registry import lookups, manifests
from neuralyzer.registry.history import History, runs
from neuralyzer.registry.location import (
    Base,
    Checkpoints,
    DatasetHit,
    DerivedModel,
    Duplicate,
    Location,
    NearCopy,
    NearName,
    RunHit,
)
from neuralyzer.registry.manifests import DatasetVersion
from neuralyzer.registry.models import RegisteredModel, derived, registered
from neuralyzer.workspace.paths import Workspace, as_workspace

GIVEN = "given"  # name of a data set that is passed as an argument and not registered


def locate(
    request: ErasureRequest,
    workspace: Workspace | Path | str,
    data: Data | None = None,
    *,
    weights: Sequence[str] = (),
    base: str | Sequence[str] | None = None,
    also: Sequence[DatasetVersion] = (),
    name: str = GIVEN,
) -> Location:
    """Find the rows of a request in every registered data set, run, checkpoint and model.

    Subjects and row ids are looked up in the manifests alone. Ids that were only counted mean nothing in another data
    set: where ``data`` is given, they are looked up there alone. Near copies are searched for in ``data`` and in those of
    ``also`` whose rows are at hand, such as ``manifests.unregistered("holdout", holdout, "holdout")``.

    Args:
        request: names the rows.
        workspace: where data sets and runs are registered.
        data: given rows; needed for requests by class or predicate, or where nothing is registered.
        weights: digests of models trained on the rows besides those of registered runs, such as the Oracle's.
        base: digest of the pretrained weights that these started from, such as ``recipe.base``; or its digests, as
            ``weights.identities`` returns them.
        also: further tables that are not registered, as ``registry.tables.table`` reads them.
        name: of ``data`` if it is not registered.

    Returns:
        Where the rows are.

    Raises:
        UsageError: if the request names classes, a predicate or near copies, and there is no ``data``.
        UnknownSubjectError: if no data set has a subject or row.
        ForgetSetError: if a class or predicate selects no row of ``data``, or all.
        UnreadableError: if a manifest or a run is damaged.
    """
    began = time.perf_counter()
    if data is None and (request.classes or request.where or request.also_near):
        raise UsageError("a request by class, predicate or near copies needs the data itself: give data=")
    versions = manifests.datasets(workspace)
    if data is not None and all(version.digest != data.digest for version in versions):
        versions.append(manifests.unregistered(name, data))
    known = {version.digest for version in versions}
    at_hand = {version.digest: version.data for version in (*versions, *also) if version.data is not None}
    at_hand |= {} if data is None else {data.digest: data}
    versions += [version for version in also if version.digest not in known]
    requested = _requested_rows(request, versions, data)
    holding = [(version, rows) for version, rows in zip(versions, requested, strict=True) if len(rows)]
    histories, models = runs(workspace), registered(workspace)
    hits, unreachable, counts = _runs(holding, versions, histories)
    trained = {hit.name for hit in hits}
    bases = _bases(base, [run.base for run in histories if run.name in trained])
    return Location(
        rows=_distinct((version, rows) for version, rows in holding if version.role == "training"),
        datasets=tuple(DatasetHit(v.name, v.digest, len(rows), v.role) for v, rows in holding),
        runs=hits,
        unreachable=unreachable,
        checkpoints=counts,
        duplicates=_duplicates(versions, requested),
        derived=_derived(models, [*weights, *(hit.weights for hit in hits if hit.weights)], as_workspace(workspace)),
        bases=tuple(_base(one, models, versions, requested) for one in dict.fromkeys(bases) if one),
        seconds=time.perf_counter() - began,
        near=_near(request, versions),
        near_copies=_near_copies(versions, requested, at_hand),
        also_near=_also_near(request, versions, data),
    )


def _bases(base: str | Sequence[str] | None, of_runs: Sequence[str | None]) -> list[tuple[str, ...]]:
    """Return the digests of each base that a model or a run started from, the model's own first."""
    of_model = [] if not base else [(base,)] if isinstance(base, str) else [tuple(base)]
    return [*of_model, *((one,) for one in of_runs if one is not None and one not in sum(of_model, ()))]


def _near(request: ErasureRequest, versions: Sequence[DatasetVersion]) -> tuple[NearName, ...]:
    """Return the subjects outside the request whose names differ from a requested one in spelling alone."""
    if not request.subjects:
        return ()
    spelt = {folded(name): name for name in request.subjects}
    counts: Counter[tuple[str, str]] = Counter()
    for version, rows in zip(versions, lookups.near([v.manifest for v in versions], request.subjects), strict=True):
        counts.update((name, version.label) for name in rows["subject"].to_pylist())
    return tuple(
        NearName(name, spelt[folded(name)], rows, dataset)
        for (name, dataset), rows in sorted(counts.items())
        if folded(name) in spelt
    )


def _requested_rows(request: ErasureRequest, versions: Sequence[DatasetVersion], data: Data | None) -> list[pa.Table]:
    """Return the requested rows of each version."""
    given = None if data is None else data.digest
    by_subject = lookups.rows_of([version.manifest for version in versions], request.subjects)
    by_id = lookups.rows_by_id([version.manifest for version in versions], request.rows)
    by_subject = [_named(rows, version, given, "subject") for rows, version in zip(by_subject, versions, strict=True)]
    by_id = [_named(rows, version, given, "row_id") for rows, version in zip(by_id, versions, strict=True)]
    for what, wanted, column, tables in (
        ("subject", request.subjects, "subject", by_subject),
        ("row", request.rows, "row_id", by_id),
    ):
        missing = sorted(set(wanted) - {name for rows in tables for name in rows[column].to_pylist()})
        if missing:
            names = ", ".join(map(repr, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            near = _suggested(missing[0], versions) if what == "subject" else ""
            raise UnknownSubjectError(
                f"no data set has {what} {names}; {near or 'check the name'}; or register the data set that holds it"
                if versions
                else f"{what} {names} cannot be looked up: no data set is registered here; register one or give data="
            )
    chosen = [by_subject, by_id]
    if data is not None and (request.classes or request.where or request.also_near):
        ids = data.ids[request.positions(data)].tolist()
        tables = lookups.rows_by_id([version.manifest for version in versions], ids)
        chosen.append([_named(rows, v, given, "row_id") for rows, v in zip(tables, versions, strict=True)])
    return [_union(tables) for tables in zip(*chosen, strict=True)]


def _suggested(name: str, versions: Sequence[DatasetVersion]) -> str:
    """Return a suggestion with the names, in all versions, that are nearest to an unknown one."""
    names = [lookups.subjects_of(version.manifest) for version in versions]
    return suggestion(name, nearest(name, np.concatenate(names))) if names else ""


def _named(rows: pa.Table, version: DatasetVersion, given: str | None, column: str) -> pa.Table:
    """Return ``rows`` without those whose name is a counted number of another data set than the given one."""
    if not version.numbered or given is None or version.digest == given:
        return rows
    if column == "row_id":
        return rows.slice(0, 0)
    counted = pa.compute.equal(rows["subject"], pa.compute.binary_join_element_wise("row", rows["row_id"], ":"))
    return rows.filter(pa.compute.invert(counted))


def _union(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several tables of one manifest, each once, by position."""
    rows = pa.concat_tables(tables)
    _, first = np.unique(rows["position"].to_numpy(), return_index=True)
    return rows.take(pa.array(first))


def _distinct(holding: Iterable[tuple[DatasetVersion, pa.Table]]) -> int:
    """Return the number of rows, counting a row that is in several versions once."""
    # Given ids identify rows across versions; counted ids do so only together with the content.
    rows: set[tuple[str, bytes | None]] = set()
    for version, table in holding:
        contents = table["digest"].to_pylist() if version.numbered else [None] * len(table)
        rows |= set(zip(table["row_id"].to_pylist(), contents, strict=True))
    return len(rows)


def _runs(
    holding: Sequence[tuple[DatasetVersion, pa.Table]], versions: Sequence[DatasetVersion], histories: Sequence[History]
) -> tuple[tuple[RunHit, ...], tuple[str, ...], Checkpoints]:
    """Return the runs that saw the rows, those whose data is not registered, and the numbers of checkpoints."""
    positions = {version.digest: rows["position"].to_numpy() for version, rows in holding}
    known = {version.digest for version in versions}
    hits, dirty, clean = [], 0, 0
    for run in histories:
        count = len(run.checkpoints)
        if run.data in positions:
            without = run.clean(positions[run.data])
            hits.append(
                RunHit(
                    name=run.name,
                    path=str(run.path),
                    first_seen=run.earliest(positions[run.data]),
                    last_checkpoint=run.checkpoints[-1].step if count else None,
                    newest_clean=without[-1].step if without else None,
                    weights=run.weights,
                    finished=run.finished,
                )
            )
            dirty, clean = dirty + count - len(without), clean + len(without)
        elif run.data in known:
            clean += count
    unreachable = tuple(run.name for run in histories if run.data not in known)
    return tuple(hits), unreachable, Checkpoints(dirty, clean)


def _derived(
    models: Sequence[RegisteredModel], weights: Sequence[str], workspace: Workspace
) -> tuple[DerivedModel, ...]:
    """Return the registered models that derive from some weights, and whether each can be reached."""
    reasons = [(model, model.unreachable(workspace)) for model in derived(models, weights)]
    return tuple(DerivedModel(m.name, m.digest, m.kind, m.parent, not why, why) for m, why in reasons)


def _base(
    digests: Sequence[str],
    models: Sequence[RegisteredModel],
    versions: Sequence[DatasetVersion],
    requested: Sequence[pa.Table],
) -> Base:
    """Return whether pretrained weights, known by some digests, saw the rows."""
    digest = digests[0]
    known = [model for model in models if model.identities & set(digests)]
    if not known:
        return Base(None, digest, "unknown", None, "the base is not registered")
    trained = next((model for model in known if model.data is not None), known[0])
    if trained.data is None:
        return Base(trained.name, digest, "unknown", None, "nobody said what data it was trained on")
    rows = [len(table) for version, table in zip(versions, requested, strict=True) if version.digest == trained.data]
    if not rows:
        return Base(trained.name, digest, "unknown", None, "its training data is not registered")
    return Base(trained.name, digest, "yes" if rows[0] else "no", rows[0], "")


def _duplicates(versions: Sequence[DatasetVersion], requested: Sequence[pa.Table]) -> tuple[Duplicate, ...]:
    same = lookups.duplicates([version.manifest for version in versions], requested)
    return tuple(
        Duplicate(row["row_id"], row["subject"], version.label)
        for version, rows in zip(versions, same, strict=True)
        for row in rows.to_pylist()
    )


def _near_copies(
    versions: Sequence[DatasetVersion], requested: Sequence[pa.Table], at_hand: Mapping[str, Data]
) -> tuple[NearCopy, ...] | None:
    """Return the rows at hand that nearly copy a requested row and are not requested; None where none can be read."""
    searched = [
        (version, at_hand[version.digest], table["position"].to_numpy())
        for version, table in zip(versions, requested, strict=True)
        if version.digest in at_hand and near_copies.searchable(at_hand[version.digest])
    ]
    if not searched:
        return None
    found: list[NearCopy] = []
    for version, rows, own in searched:
        closest: dict[int, NearCopy] = {}
        for _, source, places in searched:
            asked = source.select(np.sort(places))
            for pair in near_copies.best(asked, rows) if len(asked) else ():
                copied = asked.value_digests[pair.one] == rows.value_digests[pair.other]
                if pair.other in own or copied:
                    continue
                copy = _copy(version, rows, pair, asked)
                if pair.other not in closest or copy.similarity > closest[pair.other].similarity:
                    closest[pair.other] = copy
        found += closest.values()
    return tuple(found)


def _also_near(request: ErasureRequest, versions: Sequence[DatasetVersion], data: Data | None) -> tuple[NearCopy, ...]:
    """Return the rows of the data that are requested only since they nearly copy one that the request names."""
    if data is None or not request.also_near:
        return ()
    version = next(own for own in versions if own.digest == data.digest)
    return tuple(_copy(version, data, pair, data) for pair in request.nearly_copied(data))


def _copy(version: DatasetVersion, rows: Data, pair: near_copies.Pair, asked: Data) -> NearCopy:
    return NearCopy(
        str(rows.ids[pair.other]), str(rows.subjects[pair.other]), version.label, version.role, str(asked.ids[pair.one]),
        pair.similarity,
    )  # fmt: skip

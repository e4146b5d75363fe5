"""The references of a past case as they were: copied, or made again where the case's rows were erased from them.

The pool itself is only read.
"""

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuralyzer.errors import ReferencesError
from neuralyzer.models.placement import Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references import building
from neuralyzer.references.opening import outputs_of
from neuralyzer.references.pool import References
from neuralyzer.references.storage.access_log import FILE as ACCESS_LOG
from neuralyzer.references.storage.erased import SPLITS, erased_nulls
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training.processes import Execution
from neuralyzer.trace.estimator import nulls_to_keep
from neuralyzer.workspace import atomic
from neuralyzer.workspace.paths import Workspace

# What a case computes anew where it is missing, and the count of accesses, which is made anew.
LEFT_OUT = ("*.lock", "controls", "curvature.safetensors", ACCESS_LOG)
DESIGN = ("keep.npy", "spread.npy")


def holds(source: Path, oracle: TrainedModel) -> bool:
    """Return whether a pool still has its values on all rows of a model."""
    try:
        PoolIndex.read(source).places(oracle.data)
    except ReferencesError:
        return False
    return True


def copied(source: Path, place: Workspace, oracle: TrainedModel) -> References:
    """Copy a pool, with no access to its evaluation split counted.

    Args:
        source: the pool's folder.
        place: the workspace that gets the copy.
        oracle: the model that it is opened for.

    Returns:
        The copy.

    Raises:
        ReferencesError: if it was made for other data or another recipe.
    """
    target = place.references / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return References.open(target, oracle)


def made_again(
    source: Path,
    place: Workspace,
    models: Sequence[TrainedModel],
    alpha: float,
    train: bool,
    device: str | None,
    progress: Progress,
) -> References:
    """Make a pool again by its design and seeds, since rows were erased from it, and erase what was erased before.

    Members whose weights were kept are measured again; where they were not, all are trained again.

    Args:
        source: the pool's folder.
        place: the workspace that gets it.
        models: of the lineage: the one that the pool was made for, those that followed, and the case's.
        alpha: error rate of the joint test, for what the pool keeps of erased subjects.
        train: whether members may be trained, which takes as long as it took at first.
        device: where they are trained.
        progress: shows the work.

    Returns:
        The pool, with the same description and design, for the case's model.

    Raises:
        ReferencesError: if its members are gone and may not be trained, or are not what they were.
    """
    old, store = Store(source), Store(place.references / source.name)
    head = old.read_head()
    kept = all(old.weights(member).exists() for member in range(head["size"]))
    if not (kept or train):
        raise ReferencesError(
            "the references' values of rows that the model then had were erased when a case was closed, and the "
            "references' weights were not kept; --train-references trains them again"
        )
    atomic.make_folder(store.root)
    for name in DESIGN:
        shutil.copyfile(source / name, store.root / name)
    if kept:
        shutil.copytree(source / "members", store.root / "members")
    PoolIndex.of(models[0].data, tuple(head["groups"]), "paraphrases" in head).write(store.root)
    found_right = {"oracle": models[0].digest, "reason": None}  # when it was made, so a pilot run is not needed
    atomic.write_json(store.head, head | {"finished": False, "reproduction": found_right})
    precision = head.get("precision")
    plan = building.Plan(
        head["size"], head["leave_out"], tuple(head["groups"]), None, head["seed"], head["keep_weights"],
        execution=Execution(Placement.of(device, precision and precision[0])),
    )  # fmt: skip
    building.build(store, models[0], plan, progress)
    atomic.write_json(store.head, head)
    for before, after in pairwise(models):
        pool = References.open(store.root, before)
        gone = np.flatnonzero(~np.isin(before.data.ids, after.data.ids))
        pool.erase(gone, [], nulls_to_keep(pool, gone, alpha))
    _require_equal(old, store)
    return References.open(store.root, models[-1])


def _require_equal(old: Store, new: Store) -> None:
    """Refuse references that were made again where they differ in what the pool still has.

    That is the outputs on rows that were never erased, and what was kept of subjects that were erased before the case.

    Raises:
        ReferencesError: if anything differs.
    """
    left, head = PoolIndex.read(old.root), old.read_head()
    places = np.flatnonzero(left.ids != "")
    before, after = (outputs_of(store, left, head)[0][:, places] for store in (old, new))
    known, again = erased_nulls(old.root), erased_nulls(new.root)
    nulls = all(
        known[split].get(signal, {}).get(subject) == null
        for split in SPLITS
        for signal, by_subject in again[split].items()
        for subject, null in by_subject.items()
    )
    if not nulls or not np.array_equal(before, after):
        raise ReferencesError(
            "the references that were made again are not those that judged: they differ on what both have, which "
            "other versions, another machine or another number of threads may do too"
        )

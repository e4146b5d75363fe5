"""A pool in another folder, as it was before a case: copied, or made again where the case's rows were erased from it.

The pool itself is only read.
"""

import shutil
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
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training.processes import Execution
from neuralyzer.workspace import atomic
from neuralyzer.workspace.paths import Workspace

# What a case leaves in a pool and computes anew where it is missing, and who has opened the evaluation split.
LEFT_BEHIND = ("*.lock", "controls", "curvature.safetensors", ACCESS_LOG)

DESIGN = ("keep.npy", "spread.npy")


def holds(source: Path, oracle: TrainedModel) -> bool:
    """Return whether a pool still has its values on all rows of a model."""
    pool_index = PoolIndex.read(source)
    try:
        pool_index.places(oracle.data)
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
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    return References.open(target, oracle)


def remade(
    source: Path, place: Workspace, oracle: TrainedModel, train: bool, device: str | None, progress: Progress
) -> References:
    """Make a pool again from its design and seeds, since rows were erased from it.

    Members whose weights were kept are measured again; where they were not, all are trained again.

    Args:
        source: the pool's folder.
        place: the workspace that gets it.
        oracle: the model that it was made for.
        train: whether members may be trained, which takes as long as it took at first.
        device: where they are trained.
        progress: shows the work.

    Returns:
        The pool, with the same description and design.

    Raises:
        ReferencesError: if it was made for other rows, its members are gone and may not be trained, or those that are
            trained again are not what they were.
    """
    old, store = Store(source), Store(place.references / source.name)
    head = old.read_head()
    if head["data"] != oracle.data.digest:
        raise ReferencesError(
            "the references' values of these rows were erased, and they were made on the rows of an earlier version of "
            "the model, so they cannot be made again for this one"
        )
    kept = all(old.weights(member).exists() for member in range(head["size"]))
    if not (kept or train):
        raise ReferencesError(
            "the references' values of these rows were erased when the case was closed, and the references' weights "
            "were not kept; --train-references trains them again"
        )
    atomic.make_folder(store.root)
    for name in DESIGN:
        shutil.copyfile(source / name, store.root / name)
    if kept:
        shutil.copytree(source / "members", store.root / "members")
    PoolIndex.of(oracle.data, tuple(head["groups"]), "paraphrases" in head).write(store.root)
    checked = {"finished": False, "reproduction": {"oracle": oracle.digest, "reason": None}}
    atomic.write_json(store.head, head | checked)
    precision = head.get("precision")
    plan = building.Plan(
        head["size"], head["leave_out"], tuple(head["groups"]), None, head["seed"], head["keep_weights"],
        execution=Execution(Placement.of(device, precision and precision[0])),
    )  # fmt: skip
    building.build(store, oracle, plan, progress)
    atomic.write_json(store.head, head)
    _require_equal(old, store, PoolIndex.read(source))
    return References.open(store.root, oracle)


def _require_equal(old: Store, new: Store, left: PoolIndex) -> None:
    """Refuse members whose outputs on the rows that were never erased are not those that the pool still has.

    Raises:
        ReferencesError: if any differs.
    """
    places = np.flatnonzero(left.ids != "")
    before, after = (outputs_of(store, left, store.read_head())[0][:, places] for store in (old, new))
    if not np.array_equal(before, after):
        raise ReferencesError(
            "the references that were made again differ from those that judged, on rows that both still have; "
            "other versions, another machine or another number of threads give other bits"
        )

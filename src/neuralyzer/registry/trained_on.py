"""The record that weights were trained on rows of a request; no measurement makes such weights forgotten."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.models.weights import identities
from neuralyzer.registry.history import runs
from neuralyzer.registry.locate import locate
from neuralyzer.registry.location import Base
from neuralyzer.registry.models import derived, registered
from neuralyzer.workspace.paths import Workspace


def trained_on(
    weights: Path,
    request: ErasureRequest,
    workspace: Workspace,
    data: Data,
    original: Collection[str] = (),
    base: str | Sequence[str] | None = None,
) -> str | None:
    """Return why a weights file is known to be trained on rows of a request.

    Args:
        weights: the file, recognised by the digests of its bytes and of its tensors.
        request: names the rows.
        workspace: where data sets, runs and models are registered.
        data: the training rows.
        original: digests of weights that were trained on them, such as the lineage's first.
        base: digest of the pretrained weights that the recipe starts from, or its digests.

    Returns:
        A clause, such as "they are registered as 'copy'"; None where nothing is known of them.
    """
    known_as = set(identities(weights))
    if known_as & set(original):
        return "they are the original's"
    location = locate(request, workspace, data, weights=tuple(original), base=base)
    histories = {history.name: history for history in runs(workspace)}
    for run in location.runs:
        if run.first_seen is None:
            continue
        if run.weights in known_as:
            return f"they are those that the run {run.name!r} ended with"
        clean = -1 if run.newest_clean is None else run.newest_clean
        for checkpoint in histories[run.name].checkpoints:
            if checkpoint.step > clean and _same(checkpoint.path, known_as):
                return f"they are a checkpoint of the run {run.name!r}, step {checkpoint.step}"
    holding = {hit.digest for hit in location.datasets if hit.role == "training"}
    models = registered(workspace)
    trained = [*original, *(run.weights for run in location.runs if run.weights)]
    for model in [*(model for model in models if model.data in holding), *derived(models, trained)]:
        if known_as & model.identities:
            return f"they are registered as {model.name!r}"
    return base_saw(location.bases, base if base is None or isinstance(base, str) else next(iter(base), None))


def base_saw(bases: Iterable[Base], base: str | None) -> str | None:
    """Return why every model of a recipe was trained on rows of a request: its base saw them.

    Args:
        bases: what is known of pretrained weights.
        base: digest of those that the recipe starts from.

    Returns:
        A clause; None where they saw none, or if that is unknown.
    """
    for known in bases:
        if known.digest == base and known.saw == "yes":
            return f"the pretrained base {known.name!r}, from which the recipe starts, saw {known.rows} of the rows"
    return None


def _same(path: Path, known: set[str]) -> bool:
    """Return whether a file holds the tensors that are known by some digests."""
    return path.exists() and bool(known & set(identities(path)))

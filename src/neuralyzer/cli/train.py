"""``neuralyzer train``: trains the model by its recipe and records the training."""

import shutil
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Device, Json, ProjectFile
from neuralyzer.cli.output import announce, answer, progress
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer train --every 500"


Every = Annotated[int, typer.Option("--every", help="Steps between checkpoints.")]


Overrule = Annotated[
    str | None, typer.Option("--overrule", metavar="REASON", help="Train although the data hold erased rows; recorded.")
]


def run(
    every: Every = 500,
    device: Device = None,
    overrule: Overrule = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Train the model, record which rows each step saw, keep a checkpoint every so many steps."""
    import torch

    from neuralyzer.models import reading, weights
    from neuralyzer.models.kinds.kind import InFolder
    from neuralyzer.models.placement import as_device
    from neuralyzer.models.trained import TrainedModel
    from neuralyzer.project.project import Project
    from neuralyzer.project.records import erased_rows
    from neuralyzer.registry.manifests import register_dataset
    from neuralyzer.registry.record import Recorder
    from neuralyzer.workspace import atomic

    opened = Project.read(project)
    as_device(device)  # refused before anything is written
    if opened.weights.is_file() or any(opened.weights.glob("*.safetensors")):
        raise UsageError(
            f"{opened.weights} exists already, and nothing is overwritten; name other weights in {project}"
        )
    recipe, place = opened.recipe, opened.workspace
    erased = erased_rows(opened)
    if erased and not (overrule or "").strip():
        raise UsageError(
            f"{opened.tables['data']['train']} holds {erased} rows that were erased from a model of this project; "
            "delete them with 'neuralyzer purge', or give --overrule REASON"
        )
    announce(f"training data: {opened.data.size}", json)
    register_dataset(place, "train", opened.data)
    if opened.rows.whole_holdout is not None:
        register_dataset(place, "holdout", opened.rows.whole_holdout, role="holdout")
    if opened.run.exists():  # of a training that was stopped: it left no model, so it begins again
        shutil.rmtree(opened.run)
    opened.settle_threads()
    recorder = Recorder(opened.run, opened.data, every=every, recipe=recipe.digest, seed=recipe.seed, base=recipe.base)
    oracle = TrainedModel.fit(recipe, opened.data, opened.holdout, progress(json), recorder, opened.run, device)
    recorder.finish(oracle.model)
    path = opened.weights
    if isinstance(oracle.model, InFolder):  # a name without a suffix is a folder, which other libraries read
        path = path if path.suffix else path / oracle.model.file_name
        if path.name == oracle.model.file_name:
            oracle.model.describe_in(path.parent)
    weights.save(oracle.model, path)
    facts = {
        "weights": oracle.digest, "file": str(path), "data": opened.data.digest, "recipe": recipe.digest,
        "seconds": oracle.seconds, "rows": len(opened.data), "size": opened.data.size, "run": str(opened.run), "holdout_dropped": oracle.dropped, "threads": torch.get_num_threads(),
        "overruled": {"reason": overrule, "erased_rows": erased} if erased else None,
        "utility": None if oracle.holdout is None else reading.utility(oracle.model, recipe.objective, oracle.holdout),
    }  # fmt: skip
    atomic.write_json(place.root / "trained.json", facts)
    shown = "" if facts["utility"] is None else f", holdout {recipe.objective.utility_name} {facts['utility']:.4f}"
    answer(facts, f"trained on {opened.data.size}, in {oracle.seconds:.1f} s{shown}; wrote {path}", json)

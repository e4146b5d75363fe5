"""``neuralyzer references``: makes, finishes or grows the pool, after a forecast of its cost and power."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Device, Json, ProjectFile
from neuralyzer.cli.output import announce, answer, progress

EXAMPLE = "Example: neuralyzer references --size 64 --dry-run"
Size = Annotated[int | None, typer.Option("--size", help="Members of both splits; by default the project file's.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it takes and what it buys; train nothing.")]


Unchecked = Annotated[bool, typer.Option("--unchecked", help="Train them though the recipe may not give this model.")]


def run(
    size: Size = None,
    dry_run: DryRun = False,
    device: Device = None,
    unchecked: Unchecked = False,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Train and measure models that never saw some of the data; goes on where it was stopped, grows in place."""
    from rich.console import Group
    from rich.text import Text

    from neuralyzer.project.pool import PoolPlan
    from neuralyzer.project.project import Project
    from neuralyzer.verification.controls import Controls, controls_view, original_control

    opened = Project.read(project)
    oracle = opened.oracle()
    plan = PoolPlan(opened, oracle, size, device)
    predicted = plan.forecast
    if dry_run:
        if not json:
            answer(None, f"training data: {oracle.data.size}", json)
        answer({"forecast": predicted.to_dict(), "size": oracle.data.size}, predicted, json)
        return
    announce(f"training data: {oracle.data.size}", json)
    if predicted.untrained and not json:
        answer(None, predicted, False)
    pool = plan.make(progress(json), predicted.timing, unchecked)
    alpha = opened.workspace.policy.alpha
    controls = {split: original_control(pool, oracle, (), alpha, split) for split in ("tuning", "judging")}
    facts = {
        "size": pool.size, "tuning": pool.tuning.values.members, "judging": pool.evaluation.values.members,
        "digest": pool.digest, "folder": str(pool.store.root), "backend": pool.head["why"],
        "reproduction": pool.head.get("reproduction"), "precision": pool.head.get("precision"),
        "left_out_share": pool.tuning.values.share, "forecast": predicted.to_dict(),
        "positive_control": {split: control.to_dict() for split, control in controls.items()},
    }  # fmt: skip
    lines = [Text(f"{pool.size} references measured ({pool.head['why']}); they lie in {pool.store.root}")]
    for split, control in controls.items():
        lines += [Text.assemble(f"{split}: ", line) for line in controls_view(None, control)]
        if not control.passed:
            lines.append(Text(f"  {Controls(positive=control).reason}: no approximate option can be judged with them"))
    answer(facts, Group(*lines), json)

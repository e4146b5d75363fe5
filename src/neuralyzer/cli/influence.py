"""``neuralyzer influence``: what a request's rows do to the model, row by row, by influence functions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralyzer.cli.options import PROJECT, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import announce, answer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neuralyzer.influence.request import RequestInfluence

RAISED = "its damping was raised until both orders agreed: the change may be larger than predicted"
EXAMPLE = "Example: neuralyzer influence --subject AIFinn --chart influence.html"
Top = Annotated[int, typer.Option("--top", min=1, help="Rows that the table shows.")]
Chart = Annotated[
    Path | None, typer.Option("--chart", metavar="FILE", help="HTML file that chart and tables are written to.")
]
Damping = Annotated[
    float | None, typer.Option("--damping", min=0, help="Share of the curvature's largest eigenvalue; above 0.")
]


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    top: Top = 10,
    chart: Chart = None,
    damping: Damping = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Predict what removing a request's rows would change: their own loss, the holdout's, and the model's answers."""
    from neuralyzer.errors import UsageError
    from neuralyzer.influence import kept
    from neuralyzer.influence.request import DAMPING, request_influence, require_influence
    from neuralyzer.project.project import Project

    if damping == 0:
        raise UsageError("--damping must be above 0")
    if chart is not None and (chart.is_dir() or not chart.absolute().parent.is_dir()):
        raise UsageError(f"--chart {chart} cannot be written: name a file in a folder that exists")
    opened = Project.read(project)
    oracle = opened.oracle()
    positions = opened.rows.known_by(request(subject, row, class_, where)).positions(oracle.data)
    require_influence(oracle)
    announce("reading the model's curvature", json)
    pool = opened.references(oracle)
    factors = kept.factors(oracle, None if pool is None else pool.store.curvature)
    influence = request_influence(oracle, positions, factors, DAMPING if damping is None else damping)
    values = influence.to_dict()
    if chart is not None:
        from neuralyzer.report.influence import write_influence

        name = ", ".join(
            [*(subject or ()), *(row or ()), *(f"class {label}" for label in class_ or ()), *([where] if where else [])]
        )
        write_influence(values, name, chart)
        values["chart"] = str(chart)
    answer(values, _view(influence, top, chart), json)


def _view(influence: "RequestInfluence", top: int, chart: Path | None) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title="what removing each row would change", title_justify="left", box=None)
    table.add_column("row")
    for head in ("own loss", "holdout loss", "", "answers, mean", "changes most", "by"):
        table.add_column(head, justify="left" if head in ("", "changes most") else "right")
    shown = influence.rows[:top]
    largest = max(abs(row.holdout_loss) for row in shown) or 1.0
    for row in shown:
        bar = "█" * max(1, round(12 * abs(row.holdout_loss) / largest))
        table.add_row(
            Text(row.id), f"{row.own_loss:+.2g}", f"{row.holdout_loss:+.2g}",
            Text(bar, style="green" if row.holdout_loss > 0 else "red"), f"{row.answers:.2g}", Text(row.most_changed),
            f"{row.change:+.2g}",
        )  # fmt: skip
    rest = len(influence.rows) - len(shown)
    lines = [
        f"holdout loss {influence.holdout_loss:.4g}; without all {len(influence.rows)} rows: {influence.second_order:+.2g}",
        f"the same to first order: {influence.first_order:+.2g}",
        *([RAISED] if influence.damping_together > influence.damping else []),
        f"answers that would change: {len(influence.answers)} of {influence.holdout_rows} holdout rows",
        *([f"{rest} more rows: --top {len(influence.rows)}, or --json"] if rest else []),
        *([f"chart: {chart}"] if chart is not None else []),
        "predicted by influence functions; what the model holds of the rows is measured by 'neuralyzer audit'",
    ]
    return Group(table, *(Text(line) for line in lines))

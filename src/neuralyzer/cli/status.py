"""``neuralyzer status``: the current model, the references, and the state of each case."""

from typing import Any

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer status"


def run(project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Show the present model, the references, and each case with its dates."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from neuralyzer.project.standing import standing

    result = standing(project)
    parts: list[Any] = [
        Text(f"model       {result['model']['weights']}{'' if result['model']['there'] else ' (not there yet)'}")
    ]
    if result["model"]["erased"]:
        parts.append(Text(f"            {result['model']['erased']} rows of its training data are erased"))
    parts += [
        Text(f"references  {pool['size']} in {pool['folder']}{'' if pool['finished'] else ', not finished'}")
        for pool in result["references"]
    ]
    table = Table(box=None, pad_edge=False)
    for head in ("case", "received", "due", "state", "verdict"):
        table.add_column(head)
    for case in result["cases"]:
        due = "-" if case["due"] is None else f"{case['due']}{', missed' if case['missed'] else ''}"
        table.add_row(case["case"], str(case["received"])[:10], due, case["state"], case["verdict"] or "-")
    parts.append(table if result["cases"] else Text("cases       none"))
    answer(result, Group(*parts), json)

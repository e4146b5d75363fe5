"""The view of a verification in a terminal: the table of families, the bars, the controls, the verdict."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.verification.audit import not_measured_view, trace_cells
from neuralyzer.verification.controls import controls_view
from neuralyzer.verification.verification import Verification
from neuralyzer.verification.words import bar, colour, leading_family, narrow_enough, percent


def verification_view(verification: Verification, retrained: bool = False) -> RenderableType:
    """Return the table of families, the bars of the trace, the controls, and the verdict.

    Args:
        verification: what to show.
        retrained: whether to show the column of models that were really retrained.

    Returns:
        What Rich prints.
    """
    table = RichTable(title="verification, on the evaluation split", title_justify="left")
    heads = ["family", "signal", "original", "unlearned", "interval", "models that never saw the rows", "ok"]
    for head in [*heads, *(["really retrained, mean (range)"] if retrained else [])]:
        table.add_column(head, justify="left" if head in ("family", "signal") else "right")
    for row in verification.families:
        inside = row["null_low"] <= row["unlearned"] <= row["null_high"]
        mark = Text("✓", style="green") if inside else Text("✗", style="bold red")
        trace, interval = trace_cells(row, "unlearned")
        numbers = narrow_enough(row["low"], row["high"])
        cells: list[Any] = [
            row["family"] + ("" if row["counts"] else " *"),
            row["signal"],
            Text(percent(row["original"]) if numbers else "-", style="red"),
            Text(trace, style="green" if inside else "red"),
            interval,
            f"{percent(row['null_low'])} to {percent(row['null_high'])}" if numbers else "-",
            mark if numbers else "-",
        ]
        if retrained and row["retrained"]:
            values = row["retrained"]
            mean = percent(sum(values) / len(values))
            cells.append(f"{mean} ({100 * min(values):.0f} to {percent(max(values))})")
        table.add_row(*cells)
    parts: list[RenderableType] = [table]
    if any(not row["counts"] for row in verification.families):
        parts.append(Text("* does not count: it could not have found the original's whole trace", style="dim"))
    first = leading_family(verification.families)
    if first is not None and narrow_enough(first["low"], first["high"]):
        parts += [
            Text(f"by {first['signal']}, which speaks for the families that count:", style="dim"),
            Text.assemble("trace before ", (bar(first["original"]), "red"), f" {percent(first['original'])}"),
            Text.assemble("trace after  ", (bar(first["unlearned"]), "green"), f" {percent(first['unlearned'])}"),
        ]
    if verification.attacks is not None:
        parts.append(verification.attacks)
    parts += not_measured_view(verification.not_measured)
    parts += controls_view(verification.self_check, verification.positive_control, verification.retained_control)
    if verification.looks:
        parts.append(Text(f"looks at the evaluation split for these rows: {verification.looks}"))
    parts.append(Text(verification.sentence, style=f"bold {colour(verification.verdict)}"))
    return Group(*parts)

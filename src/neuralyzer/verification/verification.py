"""The result of a verification, its plain values, and its view in a terminal."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.attacks import Attacks
from neuralyzer.verification.audit import not_measured_view, trace_cells
from neuralyzer.verification.controls import controls_view
from neuralyzer.verification.words import bar, colour, leading_family, narrow_enough, percent

POOL, EXACT = "pool", "exact references"


@dataclass(frozen=True)
class Verification:
    """The result of a verification: the verdict on a model, measured on the evaluation split.

    Attributes:
        verdict: one of the four words.
        basis: ``exact`` where the training record decides, ``statistical`` where the joint test does.
        p_value: of the joint test; None where nothing could be read.
        alpha: its error rate.
        detectable: the largest detectable trace among the counting families; None where none counts.
        families: one row per signal: family, signal, original, unlearned, low, high, detectable, counts, null_low,
            null_high (range of models that never saw the rows), p_value, retrained (filled in by the demo alone).
        self_check: the negative control: false alarms of the same test on holdout rows.
        looks: how often the evaluation split was opened for this request, this time included.
        sentence: the verdict in plain words.
        judges: what the model was compared with: ``pool``, or ``exact references`` trained on just the retain set.
        attacks: LiRA and RMIA on the original and on the model; None where they cannot be computed.
        not_measured: the references' signals that cannot read these rows or the model under test.
        positive_control: how often the same test finds the original on subjects that it saw; None without references.
        bound: the smallest trace that would have been found by retraining or attack, and by relearning too if it was
            measured; None where one of them does not count.
        retained_control: how often the same test finds the model on subjects that it should still hold; None where an
            exact record decides, or where there is no other subject.
        remains: how much of the trace may remain, the upper end of the leading family's interval; None where no family
            counts.
        settled_by: options of ``forget`` that would settle an inconclusive verdict, the cheaper one first.
    """

    verdict: Verdict
    basis: str
    p_value: float | None
    alpha: float
    detectable: float | None
    families: tuple[dict[str, Any], ...]
    self_check: SelfCheck | None
    looks: int
    sentence: str
    judges: str = POOL
    attacks: Attacks | None = None
    not_measured: tuple[str, ...] = ()
    positive_control: PositiveControl | None = None
    bound: float | None = None
    retained_control: PositiveControl | None = None
    remains: float | None = None
    settled_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain values."""
        return {
            "verdict": str(self.verdict),
            "basis": self.basis,
            "p_value": self.p_value,
            "alpha": self.alpha,
            "detectable": self.detectable,
            "bound": self.bound,
            "remains": self.remains,
            "settled_by": list(self.settled_by),
            "families": list(self.families),
            "looks": self.looks,
            "self_check": None if self.self_check is None else asdict(self.self_check),
            "positive_control": None if self.positive_control is None else self.positive_control.to_dict(),
            "retained_control": None if self.retained_control is None else self.retained_control.to_dict(),
            "sentence": self.sentence,
            "judges": self.judges,
            "attacks": None if self.attacks is None else self.attacks.to_dict(),
            "not_measured": list(self.not_measured),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verification":
        """Return the verification that ``to_dict`` wrote down."""
        check = values["self_check"]
        return cls(
            Verdict(values["verdict"]),
            values["basis"],
            values["p_value"],
            values["alpha"],
            values["detectable"],
            tuple(values["families"]),
            None if check is None else SelfCheck(**check),
            values["looks"],
            values["sentence"],
            values.get("judges", POOL),
            None if values.get("attacks") is None else Attacks.from_dict(values["attacks"]),
            tuple(values.get("not_measured", ())),
            PositiveControl.optional(values.get("positive_control")),
            values.get("bound"),
            PositiveControl.optional(values.get("retained_control")),
            values.get("remains"),
            tuple(values.get("settled_by", ())),
        )

    def __rich__(self) -> RenderableType:
        return verification_view(self)


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

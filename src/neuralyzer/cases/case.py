"""``Case``: the outcome of a request, and the files that it left."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.plan import Plan
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.audit import Audit
from neuralyzer.verification.verification import Verification
from neuralyzer.verification.words import colour


@dataclass(frozen=True)
class Case:
    """A finished case.

    Attributes:
        id: of the case.
        folder: with all that was written.
        oracle: the unlearned model with the retained rows as its data, ready for the next request.
        result: what ``--json`` prints.
        certificate: the signed certificate.
        report: the HTML report.
    """

    id: str
    folder: Path
    oracle: TrainedModel
    result: dict[str, Any]
    certificate: Path
    report: Path

    @property
    def model(self) -> Any:
        """Return the unlearned module."""
        return self.oracle.model

    @property
    def weights(self) -> Path:
        """Return the file of its weights."""
        return Path(self.result["weights_file"])

    @cached_property
    def audit(self) -> Audit:
        """Return the audit of the original."""
        return Audit.from_dict(self.result["audit"])

    @cached_property
    def plan(self) -> Plan:
        """Return the plan."""
        return Plan.from_dict(self.result["plan"])

    @cached_property
    def verification(self) -> Verification:
        """Return the verification of the unlearned model."""
        return Verification.from_dict(self.result["verification"])

    @property
    def verdict(self) -> Verdict:
        """Return the verdict."""
        return Verdict(self.result["verification"]["verdict"])

    @property
    def succeeded(self) -> bool:
        """Return whether the rows are forgotten or untraceable and no acceptance test failed."""
        return succeeded(self.result)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return self.result

    def __rich__(self) -> RenderableType:
        return Group(
            self._attempts(),
            Text(f"{self.verdict}: case {self.id}", style=f"bold {colour(self.verdict)}"),
            Text(f"weights      {self.weights}"),
            Text(f"certificate  {self.certificate}"),
            Text(f"report       {self.report}"),
        )

    def _attempts(self) -> RenderableType:
        """Return a table of predicted and measured values of each attempt."""
        table = Table(title="predicted / measured", title_justify="left")
        for name, side in (("method", "left"), ("seconds", "right"), ("trace left", "right"), ("utility", "right"),
                           ("outcome", "left")):  # fmt: skip
            table.add_column(name, justify=side)  # type: ignore[arg-type]
        for tried in self.result["unlearning"]["attempts"]:
            predicted = tried.get("predicted", {})  # cases of earlier versions have none
            cells = (
                " / ".join(
                    "-" if value is None else form.format(value) for value in (predicted.get(key), tried.get(key))
                )
                for key, form in (("seconds", "{:.2f}"), ("trace", "{:.0%}"), ("utility", "{:.4f}"))
            )
            table.add_row(tried["method"], *cells, tried["reason"])
        return table


def succeeded(result: dict[str, Any]) -> bool:
    """Return whether rows are forgotten or untraceable and no acceptance test failed; only then a case closes."""
    done = Verdict(result["verification"]["verdict"]) in (Verdict.FORGOTTEN, Verdict.UNTRACEABLE)
    return done and not (result["acceptance"] or {}).get("failed")

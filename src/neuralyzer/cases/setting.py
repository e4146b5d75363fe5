"""``Setting``: the common arguments of every attempt of a case."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from neuralyzer.progress import Progress
from neuralyzer.references.pool import References
from neuralyzer.unlearning.task import Task
from neuralyzer.verification.protocol import Protocol
from neuralyzer.workspace import digests
from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Given:
    """Weights that one unlearning run made for several requests, each of which is judged alone.

    Attributes:
        method: name of the algorithm.
        weights: their file.
        record: of the run: ``seconds``, ``steps``, ``forget_rows``, ``hyperparameters``, ``trials``.
        retained: digest of the rows that are left by all of the requests; None where an earlier Neuralyzer made them.
    """

    method: str
    weights: Path
    record: Mapping[str, Any]
    retained: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        values = {"method": self.method, "weights": str(self.weights), "record": dict(self.record)}
        return values | {"retained": self.retained}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Given":
        """Return what ``to_dict`` wrote down."""
        return cls(values["method"], Path(values["weights"]), values["record"], values.get("retained"))

    @cached_property
    def digest(self) -> str:
        """Return the digest of the file."""
        return digests.of_file(self.weights)


@dataclass(frozen=True)
class Setting:
    """The common arguments of every attempt of a case.

    Attributes:
        task: for the algorithms; it has the tuning split alone.
        references: whose evaluation split the verdict is measured on.
        protocol: declared before unlearning.
        policy: limits.
        members_utility: utility on the holdout that the tuning members predict.
        answerable: why the pool cannot answer the request; None where it can.
        folder: where acceptance tests run.
        progress: shows the work.
        exact_references: number of models trained on exactly the retain set for the verdict; 0 for the pool.
        exact_folder: where they are kept until the case is finished.
        known: why any model of the recipe was trained on the rows, such as by its base; None where it was not.
        given: weights that are judged in place of unlearning; None to unlearn.
    """

    task: Task
    references: References | None
    protocol: Protocol
    policy: Policy
    members_utility: float | None
    answerable: str | None
    folder: Path | None
    progress: Progress
    exact_references: int
    exact_folder: Path
    known: str | None = None
    given: Given | None = None

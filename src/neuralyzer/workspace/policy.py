"""The policy of the organisation: error rate, largest trace, largest loss of utility, acceptance tests."""

from dataclasses import asdict, dataclass
from typing import Any

from neuralyzer.errors import UsageError


@dataclass(frozen=True)
class Policy:
    """The limits for verdicts and plans.

    Attributes:
        alpha: error rate of the joint test.
        max_trace: largest trace that may have been missed where a verdict is ``forgotten`` (1.0 = 100 %). It must have
            been detectable by retraining or attack, and by relearning too if that is measured.
        max_utility_loss: largest loss of holdout accuracy that a plan may cost; None means the objective's default
            (.01 accuracy, or 2 % of the root mean squared error).
        acceptance: the team's test command, such as ``pytest tests/model``; it finds the path of the new weights in
            the environment variable ``NEURALYZER_WEIGHTS``.
        name_subject: whether certificate and report name the subject in clear.
        keep_weights: whether references keep their weights once they are measured.
    """

    alpha: float = 0.05
    max_trace: float = 0.75
    max_utility_loss: float | None = None
    acceptance: str | None = None
    name_subject: bool = False
    keep_weights: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise UsageError(f"policy.alpha is {self.alpha}; it must lie between 0 and 1")
        if self.max_utility_loss is not None and self.max_utility_loss < 0:
            raise UsageError(f"policy.max_utility_loss is {self.max_utility_loss}; it must not be below 0")
        if self.max_trace <= 0:
            raise UsageError(f"policy.max_trace is {self.max_trace}; it must be above 0")

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> "Policy":
        """Read the ``[policy]`` table of a project file.

        Returns:
            The policy.

        Raises:
            UsageError: if it has keys that no policy has.
        """
        unknown = set(table) - set(cls.__dataclass_fields__)
        if unknown:
            raise UsageError(
                f"[policy] has no {', '.join(sorted(unknown))}; it knows {', '.join(sorted(cls.__dataclass_fields__))}"
            )
        return cls(**table)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as plain values."""
        return asdict(self)

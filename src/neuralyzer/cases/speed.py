"""What a case took beside a retraining: the unlearning alone, the whole case, and a request's share of the pool."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Speed:
    """Seconds of a case, all with the same number of threads.

    Attributes:
        retraining: of one retraining; None where it was not measured.
        unlearning: tuning and repair included, of all attempts.
        case: from the request to certificate and report: what a person waits for.
        pool: of making the references, once for all requests; 0 without, None where an older version made them.
        requests: that the references served so far, this one included.
    """

    retraining: float | None
    unlearning: float
    case: float
    pool: float | None
    requests: int

    @property
    def per_request(self) -> float | None:
        """The whole case and its share of the pool."""
        return None if self.pool is None else self.case + self.pool / self.requests

    def ratios(self) -> dict[str, float | None]:
        """How many times as long a retraining takes; below 1 where retraining is faster."""
        taken = {"unlearning": self.unlearning, "case": self.case, "per_request": self.per_request}
        return {
            name: self.retraining / own if self.retraining is not None and own else None for name, own in taken.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "per_request": self.per_request, "ratios": self.ratios()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Speed":
        """What ``to_dict`` wrote down."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def lines(self) -> list[str]:
        """A line for the unlearning alone, one for the whole case, one for a request with its share of the pool."""
        ratios = self.ratios()
        said = {
            "unlearning": f"unlearning took {self.unlearning:.2f} s",
            "case": f"the whole case took {self.case:.1f} s",
            "per_request": None
            if self.per_request is None or not self.pool
            else f"with its share of the references, made once in {self.pool:.0f} s for {self.requests} so far: "
            f"{self.per_request:.1f} s",
        }
        return [
            line if ratios[name] is None else f"{line}, {compared(ratios[name])}"
            for name, line in said.items()
            if line is not None
        ]


def compared(ratio: float | None) -> str:
    """A ratio of a retraining's time to another, in words."""
    if ratio is None:
        return "retraining was not timed"
    return f"{ratio:.1f} times faster than retraining" if ratio >= 1 else f"{1 / ratio:.1f} times as long as retraining"

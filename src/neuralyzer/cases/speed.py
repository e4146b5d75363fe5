"""The speed of a case compared with a retraining: unlearning alone, the whole case, and with its share of the pool."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Speed:
    """The seconds of a case, all with the same number of threads.

    Attributes:
        retraining: of one retraining; None where it was not measured.
        unlearning: of all attempts, tuning and repair included.
        case: from the request to certificate and report.
        pool: of making the references, once for all requests; 0 without, None where an older version made them.
        requests: number of requests that the references served so far, this one included.
    """

    retraining: float | None
    unlearning: float
    case: float
    pool: float | None
    requests: int

    @property
    def per_request(self) -> float | None:
        """Return the seconds of the whole case and its share of the pool."""
        return None if self.pool is None else self.case + self.pool / self.requests

    def ratios(self) -> dict[str, float | None]:
        """Return the seconds of a retraining divided by those of the case; below 1 where retraining is faster."""
        taken = {"unlearning": self.unlearning, "case": self.case, "per_request": self.per_request}
        return {
            name: self.retraining / seconds if self.retraining is not None and seconds else None
            for name, seconds in taken.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the speed as plain values."""
        return {**vars(self), "per_request": self.per_request, "ratios": self.ratios()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Speed":
        """Return the speed that ``to_dict`` wrote down."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def lines(self) -> list[str]:
        """Return a line for the unlearning alone, one for the whole case, and one with the share of the pool."""
        ratios = self.ratios()
        texts = {
            "unlearning": f"unlearning took {self.unlearning:.2f} s",
            "case": f"the whole case took {self.case:.1f} s",
            "per_request": None
            if self.per_request is None or not self.pool
            else f"with its share of the references, made once in {self.pool:.0f} s for {self.requests} so far: "
            f"{self.per_request:.1f} s",
        }
        return [
            line if ratios[name] is None else f"{line}, {compared(ratios[name])}"
            for name, line in texts.items()
            if line is not None
        ]


def compared(ratio: float | None) -> str:
    """Return in words the ratio of a retraining's seconds to others."""
    if ratio is None:
        return "retraining was not timed"
    return f"{ratio:.1f} times faster than retraining" if ratio >= 1 else f"{1 / ratio:.1f} times as long as retraining"

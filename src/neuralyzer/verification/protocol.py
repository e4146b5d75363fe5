"""The protocol of a verdict: what is measured and what counts, written and hashed before unlearning begins."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """The rules by which a verdict is reached.

    Attributes:
        signals: signals that can read the request.
        counting: those that count: on the tuning split they could find the original's whole trace.
        alpha: error rate of the joint test.
        max_trace: largest detectable trace with which a family may say ``forgotten``.
        references: digest of the references; None without.
        original_rejected: whether the audit found the rows in the original.
    """

    signals: tuple[str, ...]
    counting: tuple[str, ...]
    alpha: float
    max_trace: float
    references: str | None
    original_rejected: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as plain values."""
        return asdict(self) | {"signals": list(self.signals), "counting": list(self.counting)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Protocol":
        """Return the protocol that ``to_dict`` wrote down."""
        return cls(**{**values, "signals": tuple(values["signals"]), "counting": tuple(values["counting"])})

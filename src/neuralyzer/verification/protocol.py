"""The protocol: what will be measured and what will count, written and hashed before unlearning begins."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """What a verdict is held to.

    Attributes:
        signals: signals that the request has.
        counting: those that count: able, on the tuning split, to find the original's whole trace.
        alpha: error rate of the joint test.
        max_trace: largest detectable trace with which a family may say ``forgotten``.
        references: digest of the references; None without.
        original_rejected: whether the audit found the original to hold the rows.
    """

    signals: tuple[str, ...]
    counting: tuple[str, ...]
    alpha: float
    max_trace: float
    references: str | None
    original_rejected: bool

    def to_dict(self) -> dict[str, Any]:
        """The protocol as plain values."""
        return asdict(self) | {"signals": list(self.signals), "counting": list(self.counting)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Protocol":
        """The protocol that ``to_dict`` wrote down."""
        return cls(**{**values, "signals": tuple(values["signals"]), "counting": tuple(values["counting"])})

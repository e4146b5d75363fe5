"""The result of a verification, and its plain values."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType

from neuralyzer.trace.positive_control import PositiveControl
from neuralyzer.trace.self_check import SelfCheck
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.attacks import Attacks

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
        from neuralyzer.verification.view import verification_view

        return verification_view(self)

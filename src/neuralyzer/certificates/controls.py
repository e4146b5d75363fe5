"""The controls in a certificate, and the base class of all of its parts."""

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """The base of all parts of a certificate: strict, immutable, no unknown fields, no infinite numbers."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class SelfCheckRecord(Record):
    """The negative control: false alarms of the same test on holdout rows that no model saw."""

    alarms: int = Field(ge=0, description="how many groups of holdout rows raised a false alarm")
    groups: int = Field(ge=0, description="out of how many")
    limit: int | None = Field(
        default=None, ge=0, description="how many come at most in 99 of 100 pools that are right; null in older records"
    )


class SignalControlRecord(Record):
    """One signal's traces of a model on subjects that it saw."""

    detected: float = Field(ge=0, le=1, description="share of the groups that the signal alone finds")
    promised: float = Field(ge=0, le=1, description="share of the groups whose detectable trace is at most 1")
    trace: float = Field(description="mean trace; 1 where references train as the model was trained")
    low: float = Field(description="lower end of its interval")
    high: float = Field(description="upper end of its interval")


class PositiveControlRecord(Record):
    """A positive control: the same test must find a model on subjects that it saw."""

    groups: int = Field(ge=0, description="how many subjects, or groups of them, the model was read on")
    size: int = Field(ge=1, description="subjects of the largest group")
    detected: int = Field(ge=0, description="on how many of them it was found")
    promised: int = Field(ge=0, description="on how many of them some signal's detectable trace is at most 1")
    found: int = Field(ge=0, description="on how many of those it was found; 95 in a hundred are expected")
    passed: bool = Field(description="whether as many were found as promised, as far as their number tells")
    signals: dict[str, SignalControlRecord] = Field(description="each signal by itself")

"""``Watch``: what happens in a run, told to those who watch its requests."""

import time
from collections.abc import Sequence
from typing import Any

from neuralyzer.service.requests import Requests

SHOWN = ("family", "signal", "trace", "original", "unlearned", "low", "high", "detectable", "counts")  # of a family
EVERY = 0.5  # seconds between two sets of moving figures


class Watch:
    """A progress and a listener of a case that writes events; they hold figures and words, and name nobody.

    Args:
        requests: of the service.
        ids: requests of the run.
    """

    def __init__(self, requests: Requests, ids: Sequence[str]) -> None:
        self._requests, self._ids = requests, list(ids)
        self._step, self._total, self._done, self._figures = "", 0, 0, dict[str, float]()
        self._told = 0.0

    def stage(self, name: str, result: Any) -> None:
        """Tell what a stage found."""
        if name == "located":
            facts: dict[str, Any] = {"rows": result["rows"], "datasets": len(result["datasets"])}
        elif name in ("audit", "attempt"):
            facts = _families(result.to_dict() if name == "attempt" else None, result)
        elif name == "plan":
            facts = {"method": result.chosen.method, "seconds": result.chosen.seconds}
        else:  # answers may hold what people wrote
            facts = {}
        self._requests.show(self._ids, name, facts)

    def start(self, step: str, total: int) -> None:
        """Begin a step."""
        self._step, self._total, self._done, self._figures = step, total, 0, {}
        self._tell(now=True)

    def advance(self, amount: int = 1) -> None:
        """Advance the step."""
        self._done += amount
        self._tell()

    def show(self, **values: float) -> None:
        """Show moving figures."""
        self._figures |= {name: round(float(value), 4) for name, value in values.items()}
        self._tell()

    def finish(self) -> None:
        """Finish the step."""
        if self._step:
            self._tell(now=True)
        self._step = ""

    def _tell(self, now: bool = False) -> None:
        moment = time.monotonic()
        if now or moment - self._told >= EVERY:
            self._told = moment
            facts = {"step": self._step, "done": self._done, "total": self._total, **self._figures}
            self._requests.show(self._ids, "progress", facts)


def _families(attempt: dict[str, Any] | None, result: Any) -> dict[str, Any]:
    """Return verdict and traces of an audit, or of an attempt that came to a verification."""
    measured = result if attempt is None else result.verification
    facts: dict[str, Any] = {} if attempt is None else {"method": attempt["method"], "reason": attempt["reason"]}
    if measured is None:
        return facts
    families = [{name: row[name] for name in SHOWN if name in row} for row in measured.families]
    return facts | {"verdict": str(measured.verdict), "families": families}

"""The state of a project, from its files alone, so that nothing is loaded that takes time."""

import datetime as dt
from pathlib import Path
from typing import Any

from neuralyzer.errors import UsageError
from neuralyzer.project import project_file
from neuralyzer.project.lineage import Lineage
from neuralyzer.workspace import atomic

STAGES = {"closed": "closed", "result": "judged", "protocol": "unlearning", "plan": "planned", "audit": "audited",
          "located": "located", "request": "begun"}  # fmt: skip


def standing(project: Path) -> dict[str, Any]:
    """Return the state of a project.

    Args:
        project: the project file.

    Returns:
        ``model``, ``references`` and ``cases``, the newest case first.

    Raises:
        UsageError: if the project file cannot be used.
        UnreadableError: if a file of the workspace is damaged.
    """
    root, tables = project.absolute().parent, project_file.read(project)
    place = root / project_file.FOLDER
    version = Lineage.read(place).version
    weights = version.weights or tables["model"]["weights"]
    cases = [_case(folder) for folder in (place / "cases").glob("case-*") if (folder / "request.json").exists()]
    return {
        "model": {"weights": weights, "there": (root / weights).exists(), "erased": len(version.erased)},
        "references": [_pool(path) for path in sorted((place / "references").glob("*/pool.json"))],
        "cases": sorted(cases, key=lambda case: str(case["received"]), reverse=True),
    }


def _pool(path: Path) -> dict[str, Any]:
    head = atomic.read_json(path)
    return {"folder": path.parent.name, "size": head["size"], "finished": head["finished"]}


def _case(folder: Path) -> dict[str, Any]:
    begun = atomic.read_json(folder / "request.json")
    state = next(word for name, word in STAGES.items() if (folder / f"{name}.json").exists())
    result = atomic.read_json(folder / "result.json") if (folder / "result.json").exists() else None
    due = begun["request"].get("due")
    done = None if result is None else result["request"].get("done")  # results of an early version have none
    until_now = None if state == "closed" else dt.datetime.now(dt.UTC).date().isoformat()
    answered = done[:10] if done else until_now
    missed = due is not None and answered is not None and dt.date.fromisoformat(due) < dt.date.fromisoformat(answered)
    return {
        "case": folder.name, "received": begun["received"], "due": due, "done": done, "missed": missed, "state": state,
        "verdict": None if result is None else result["verification"]["verdict"],
        "weights": None if result is None else result["weights_file"],
        "folder": None if result is None else result.get("weights_folder"),  # results of an early version have none
        "certificate": None if result is None else result["certificate"],
    }  # fmt: skip


def chosen(project: dict[str, Any], case: str | None) -> dict[str, Any]:
    """Return a case by its name, or the newest with a verdict.

    Args:
        project: the state that ``standing`` returns.
        case: name of the case.

    Returns:
        The case.

    Raises:
        UsageError: if there is none, or it has no verdict yet.
    """
    names = ", ".join(one["case"] for one in project["cases"]) or "none"
    matching = [one for one in project["cases"] if (one["case"] == case if case else one["verdict"])]
    if not matching:
        what = f"case {case!r}" if case else "case with a verdict"
        raise UsageError(f"there is no {what} here; there are: {names}")
    newest: dict[str, Any] = matching[0]
    if newest["verdict"] is None:
        raise UsageError(f"{newest['case']} has no verdict yet ({newest['state']}); call 'neuralyzer forget' again")
    return newest

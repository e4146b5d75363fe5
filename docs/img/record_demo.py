"""Draws docs/img/demo.svg: the end of the demo as a terminal shows it, from the JSON that the demo printed.

neuralyzer demo --json > demo.json
python docs/img/record_demo.py demo.json
"""

import io
import json
import re
import sys
from pathlib import Path

from rich.console import Console

from neuralyzer.cases.screen import case_view
from neuralyzer.planning.plan import Plan
from neuralyzer.verification.audit import Audit, audit_view


def main(source: Path, target: Path) -> None:
    """Print audit, plan, verification and verdict on a recording console."""
    result = json.loads(source.read_text())
    for name in ("report", "certificate", "weights_file"):
        result[name] = Path(result[name]).name
    console = Console(record=True, width=116, file=io.StringIO(), highlight=False)
    console.print(audit_view(Audit.from_dict(result["audit"]), "The Oracle", "AIFinn's"))
    console.print(Plan.from_dict(result["plan"]))
    console.print(case_view(result))
    drawn = console.export_svg(title="neuralyzer demo")
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # fonts would come from the network


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "demo.svg")

"""``neuralyzer methods``: the catalogue of algorithms."""

from neuralyzer.cli.options import Json
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer methods --json"


def run(json: Json = False) -> None:
    """List the unlearning algorithms."""
    from rich.table import Table

    from neuralyzer.methods.catalogue import hyperparameters, make, methods
    from neuralyzer.unlearning.method import for_comparison

    table = Table(box=None)
    for head in ("name", "guarantee", "what it does", "paper"):
        table.add_column(head)
    listed = []
    for name, kind in methods().items():
        compared = for_comparison(kind)
        summary = f"{kind.summary} (for comparison)" if compared else kind.summary
        table.add_row(name, str(kind.guarantee), summary, kind.paper)
        listed.append(
            {
                "name": name, "guarantee": str(kind.guarantee), "summary": kind.summary, "paper": kind.paper,
                "needs": sorted(str(need) for need in kind.needs), "hyperparameters": hyperparameters(make(name)),
                "for_comparison": compared,
            }
        )  # fmt: skip
    answer(listed, table, json)

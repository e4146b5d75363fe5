"""``neuralyzer signals``: the catalogue of signals."""

from neuralyzer.cli.options import Json
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer signals"


def run(json: Json = False) -> None:
    """List what can be read off a model about rows, by family."""
    from rich.table import Table

    from neuralyzer.signals.catalogue import signals

    table = Table(box=None)
    for head in ("name", "family", "references are read", "what it reads"):
        table.add_column(head)
    listed = []
    for name, signal in signals().items():
        summary = (type(signal).__doc__ or "").splitlines()[0]
        optional = bool(getattr(signal, "optional", False))
        table.add_row(name, str(signal.family), "where asked for" if optional else "by default", summary)
        listed.append({
            "name": name, "family": str(signal.family), "summary": summary, "per_unit": signal.per_unit,
            "optional": optional,
        })  # fmt: skip
    answer(listed, table, json)

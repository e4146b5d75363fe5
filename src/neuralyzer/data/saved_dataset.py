"""Folders that ``save_to_disk`` of the library ``datasets`` writes: Arrow files, and a JSON file that names them."""

from pathlib import Path

import pyarrow as pa

from neuralyzer.errors import UnreadableError, UsageError
from neuralyzer.workspace import atomic

STATE, SPLITS = "state.json", "dataset_dict.json"


def is_saved(path: Path) -> bool:
    """Return whether a path is such a folder, of one data set or of several splits."""
    return (path / STATE).exists() or (path / SPLITS).exists()


def read_saved(path: Path) -> pa.Table:
    """Read all rows of a data set.

    Args:
        path: of its folder.

    Returns:
        The rows in order.

    Raises:
        UsageError: if it holds several splits.
        UnreadableError: if it names no files of rows, or selects rows by a file of its own.
    """
    if (path / SPLITS).exists():
        splits = ", ".join(atomic.read_json(path / SPLITS).get("splits", ()))
        raise UsageError(f"{path} has the splits {splits}; name the folder of one of them")
    state = atomic.read_json(path / STATE)
    files = [part.get("filename") for part in state.get("_data_files", ())]
    if not files or state.get("_indices_files"):
        raise UnreadableError(f"{path / STATE} names no files of rows; save the data set anew by save_to_disk")
    parts = []
    for name in files:
        with pa.memory_map(str(path / name)) as file:
            parts.append(pa.ipc.open_stream(file).read_all())
    return pa.concat_tables(parts)

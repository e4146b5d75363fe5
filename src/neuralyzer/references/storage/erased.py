"""The nulls of erased subjects: a pool keeps their scores, so that erasures do not make the null smaller."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from neuralyzer.references.signal_values import ErasedNull
from neuralyzer.workspace import atomic

SPLITS = ("tuning", "judging")
FILE = "remembered.json"
ErasedNulls = Mapping[str, Mapping[str, Mapping[int, ErasedNull]]]  # by split, signal and subject


def erased_nulls(root: Path) -> dict[str, dict[str, dict[int, ErasedNull]]]:
    """Return the nulls of erased subjects that a pool's folder has."""
    content = atomic.read_json(root / FILE) if (root / FILE).exists() else {}
    return {
        split: {
            signal: {int(subject): ErasedNull(**fields) for subject, fields in by_subject.items()}
            for signal, by_subject in content.get(split, {}).items()
        }
        for split in SPLITS
    }


def add_erased_nulls(root: Path, nulls: ErasedNulls) -> None:
    """Add nulls of erased subjects to a pool's folder; those it has stay, since a killed erasure is done again."""
    known = erased_nulls(root)
    joined = {
        split: {
            signal: {subject: asdict(null) for subject, null in ({**new, **known[split].get(signal, {})}).items()}
            for signal, new in nulls[split].items()
        }
        for split in SPLITS
    }
    atomic.write_json(root / FILE, joined)

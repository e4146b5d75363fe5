"""What a pool keeps of subjects that were erased: numbers by member, so that the null of those who stay is no smaller."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from neuralyzer.references.signal_values import ErasedNull
from neuralyzer.workspace import atomic

SPLITS = ("tuning", "judging")
FILE = "remembered.json"
ErasedNulls = Mapping[str, Mapping[str, Mapping[int, ErasedNull]]]  # by split, signal and subject


def erased_nulls(root: Path) -> dict[str, dict[str, dict[int, ErasedNull]]]:
    """What is kept in a pool's folder."""
    content = atomic.read_json(root / FILE) if (root / FILE).exists() else {}
    return {
        split: {
            signal: {int(subject): ErasedNull(**own) for subject, own in by_subject.items()}
            for signal, by_subject in content.get(split, {}).items()
        }
        for split in SPLITS
    }


def add_erased_nulls(root: Path, nulls: ErasedNulls) -> None:
    """Add to it; what was kept of a subject already stands, since an erasure that was killed is done again."""
    known = erased_nulls(root)
    joined = {
        split: {
            signal: {subject: asdict(own) for subject, own in ({**new, **known[split].get(signal, {})}).items()}
            for signal, new in nulls[split].items()
        }
        for split in SPLITS
    }
    atomic.write_json(root / FILE, joined)

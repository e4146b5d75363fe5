"""What a pool keeps of subjects that were erased: numbers by member, so that the null of those who stay is no smaller."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from neuralyzer.references.signal_values import Remembered
from neuralyzer.workspace import atomic

SPLITS = ("tuning", "judging")
FILE = "remembered.json"
Memory = Mapping[str, Mapping[str, Mapping[int, Remembered]]]  # by split, signal and subject


def remembered(root: Path) -> dict[str, dict[str, dict[int, Remembered]]]:
    """What is kept in a pool's folder."""
    content = atomic.read_json(root / FILE) if (root / FILE).exists() else {}
    return {
        split: {
            signal: {int(subject): Remembered(**own) for subject, own in by_subject.items()}
            for signal, by_subject in content.get(split, {}).items()
        }
        for split in SPLITS
    }


def remember(root: Path, memory: Memory) -> None:
    """Add to it; what was kept of a subject already stands, since an erasure that was killed is done again."""
    known = remembered(root)
    joined = {
        split: {
            signal: {subject: asdict(own) for subject, own in ({**new, **known[split].get(signal, {})}).items()}
            for signal, new in memory[split].items()
        }
        for split in SPLITS
    }
    atomic.write_json(root / FILE, joined)

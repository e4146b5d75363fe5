"""A realistic result of a case, shaped like the demo's JSON, and the margins that go with it."""

import copy
from typing import Any

import numpy as np
from scipy import stats

COMMITMENT = "hmac-sha256:9f3c51d7a60be24c8a7d1f05e2b94c6688a3d1470c59ee1b2f7a90d4c3e8b215"

_FAMILIES = [
    # family, signal, original, unlearned, half-width, detectable, counts
    ("retraining", "margin", 1.04, 0.03, 0.18, 0.31, True),
    ("attack", "augmented", 1.01, 0.08, 0.16, 0.27, True),
    ("relearning", "relearned", 0.97, 0.21, 0.27, 0.48, True),
    ("accuracy", "correct", 1.12, -0.09, 0.36, 0.61, True),
    ("information", "fisher", 0.88, 0.14, 0.55, 1.22, False),
]


def _attacks() -> dict[str, Any]:
    """ROC curves of two normal distributions that lie ``shift`` apart: TPR = Phi(Phi^-1(FPR) + shift)."""
    shifts = {"references": 0.5, "original": 1.5, "unlearned": 0.05}
    scores, curves = [], []
    for attack, weaker in (("lira-online", 1.0), ("lira-offline", 0.8), ("rmia-online", 0.9), ("rmia-offline", 0.7)):
        for unit in ("row", "subject"):
            for model, shift in shifts.items():
                large = model == "references"
                positives, negatives = ((37362, 8622) if large else (72, 432)) if unit == "row" else ((780, 180) if large else (1, 6))  # fmt: skip
                area = float(stats.norm.cdf(weaker * shift / 2**0.5))
                scores.append(
                    {
                        "attack": attack, "unit": unit, "model": model, "positives": positives, "negatives": negatives,
                        "auc": area, "auc_low": max(0.0, area - 0.06), "auc_high": min(1.0, area + 0.05),
                        "tpr": [_rate(rate, weaker * shift, negatives) for rate in (0.01, 0.001)],
                        "score": None if unit == "row" or large else 3.1 * shift,
                        "percentile": None if unit == "row" or large else 1.0 if model == "original" else 0.5,
                    }
                )  # fmt: skip
                if unit == "row":
                    steps = np.unique(np.ceil(np.geomspace(1 / negatives, 1, 40) * negatives) / negatives)
                    points = [[0.0, 0.0], *([float(x), float(stats.norm.cdf(stats.norm.ppf(x) + weaker * shift))] for x in steps)]  # fmt: skip
                    curves.append({"attack": attack, "model": model, "points": points})
    return {"members": 32, "scores": scores, "curves": curves}


def _rate(rate: float, shift: float, negatives: int) -> dict[str, Any]:
    if negatives * rate < 1:
        return {"fpr": rate, "tpr": None, "low": None, "high": None}
    tpr = float(stats.norm.cdf(stats.norm.ppf(rate) + shift))
    return {"fpr": rate, "tpr": tpr, "low": 0.6 * tpr, "high": min(1.0, 1.5 * tpr)}


_RESULT: dict[str, Any] = {
    "case": "case-2026-11-24-7f3a",
    "organisation": "Example Ltd",
    "model": "Oracle 3",
    "policy": {"alpha": 0.05, "max_trace": 1.0, "max_utility_loss": 0.01, "name_subject": False},
    "request": {
        "id": "DSR-2026-0417",
        "reason": "privacy",
        "received": "2026-11-24",
        "done": "2026-12-20T10:00:00+00:00",
        "due": "2026-12-24",
        "decided_by": "Dr. Ines Weber",
        "guarantee": "weak",
        "commitment": COMMITMENT,
        "rows": 72,
    },
    "located": {
        "rows": 72,
        "datasets": [{"name": "digits", "version": "v1"}],
        "runs": [{"name": "oracle"}],
        "duplicates": [{"row": "r-1203", "of": "r-17"}],
    },
    "references": {"size": 64, "tuning": 32, "judging": 32},
    "audit": {
        "verdict": "not forgotten",
        "p_value": 0.0061,
        "detectable": 0.61,
        "families": [
            {
                "family": family,
                "signal": signal,
                "trace": original,
                "low": original - half,
                "high": original + half,
                "p_value": 0.0061,
                "detectable": detectable,
                "counts": counts,
            }
            for family, signal, original, _, half, detectable, counts in _FAMILIES
        ],
    },
    "plan": {
        "budget": 3.1,
        "options": [
            {
                "method": "retrain",
                "guarantee": "exact",
                "seconds": 9.2,
                "trace": 0.0,
                "utility": 0.985,
                "feasible": False,
                "reason": "takes 9.2 s where 3.1 s are allowed",
                "chosen": False,
            },
            {
                "method": "checkpoint-arithmetic+datamodel-matching",
                "guarantee": "certified",
                "seconds": None,
                "trace": 0.0,
                "utility": None,
                "feasible": False,
                "reason": "no checkpoint is older than the first of these rows",
                "chosen": False,
            },
            {
                "method": "influence",
                "guarantee": "weak",
                "seconds": 1.4,
                "trace": 0.09,
                "utility": 0.987,
                "feasible": True,
                "reason": "least trace among the options that the budget allows, and no utility lost",
                "chosen": True,
            },
            {
                "method": "finetune",
                "guarantee": "weak",
                "seconds": 0.9,
                "trace": 0.71,
                "utility": 0.988,
                "feasible": True,
                "reason": "leaves most of the trace",
                "chosen": False,
            },
            {
                "method": "neggrad-plus",
                "guarantee": "weak",
                "seconds": 1.1,
                "trace": 0.64,
                "utility": 0.971,
                "feasible": False,
                "reason": "hides rather than forgets: relearning reads 64 %, and it costs 1.6 points of accuracy",
                "chosen": False,
            },
        ],
    },
    "unlearning": {
        "method": "influence",
        "seconds": 1.6,
        "retrain_seconds": 9.1,
        "attempts": [
            {
                "method": "influence",
                "seconds": 1.6,
                "verdict": "forgotten",
                "reason": None,
                "trace": 0.087,
                "utility": 0.9684,
                "predicted": {"seconds": 1.37, "trace": 0.06, "utility": 0.9712},
            }
        ],
    },
    "verification": {
        "verdict": "forgotten",
        "basis": "statistical",
        "p_value": 0.64,
        "alpha": 0.05,
        "detectable": 0.61,
        "bound": 0.48,
        "attacks": _attacks(),
        "sentence": "p = 0.64 over five families; a trace of 61 % would have been found in each that counts.",
        "self_check": {"alarms": 11, "groups": 384, "limit": 41},
        "positive_control": {
            "groups": 30,
            "size": 1,
            "detected": 29,
            "promised": 24,
            "found": 24,
            "passed": True,
            "signals": {"margin": {"detected": 0.9, "promised": 0.7, "trace": 1.02, "low": 0.9, "high": 1.14}},
        },
        "families": [
            {
                "family": family,
                "signal": signal,
                "original": original + 0.02,
                "unlearned": unlearned,
                "low": unlearned - half,
                "high": unlearned + half,
                "detectable": detectable,
                "counts": counts,
                "retrained": [round(half * step, 3) for step in (-0.7, -0.45, -0.2, -0.05, 0.1, 0.3, 0.42, 0.8)],
            }
            for family, signal, original, unlearned, half, detectable, counts in _FAMILIES
        ],
    },
    "acceptance": {
        "passed": 5,
        "failed": 0,
        "tests": [
            {"name": "test_accuracy_stays_above_95_percent", "ok": True},
            {"name": "test_every_digit_is_recognised", "ok": True},
            {"name": "test_confidence_is_calibrated", "ok": True},
            {"name": "test_small_shifts_change_nothing", "ok": True},
            {"name": "test_weights_are_finite", "ok": True},
        ],
    },
    "utility": {
        "name": "accuracy",
        "holdout_accuracy": {"original": 0.9917, "unlearned": 0.9889, "retrained": [0.983, 0.986, 0.989, 0.981]},
        "by_class": {
            str(digit): {"original": 1.0 - 0.004 * (digit % 4), "unlearned": 1.0 - 0.005 * (digit % 5)}
            for digit in range(10)
        },
    },
    "weights": {"original": 8 * "3b1e77c0", "unlearned": 8 * "a94f02d6"},
    "weights_file": "/home/ines/oracle/unlearned.safetensors",
    "certificate": "/home/ines/oracle/certificate.json",
    "report": "/home/ines/oracle/report.html",
    "not_tested": ["model inversion", "attribute inference", "prompt extraction (no language model)"],
    "limits": [
        "It assumes an honest operator, who uses the weights certified and keeps no copy of the old (arXiv 2408.00929).",
        "It says nothing of attacks that were not run.",
        "It says nothing of backups, logs or copies elsewhere, nor of systems that were not registered.",
    ],
}


def result(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(_RESULT) | changes


def margins() -> dict[str, list[float]]:
    random = np.random.default_rng(7)
    hard = random.uniform(size=72) < 0.4

    def on_forget_rows(easy: float, difficult: float, spread: float, models: int = 1) -> list[float]:
        centre = np.where(hard, difficult, easy)
        return [float(value) for _ in range(models) for value in centre + spread * random.normal(size=72)]

    return {
        "original": on_forget_rows(9.5, 6.0, 1.6),
        "unlearned": on_forget_rows(7.9, 1.6, 2.2),
        "never_saw": on_forget_rows(8.0, 1.4, 2.3, models=12),
        "saw": on_forget_rows(9.4, 6.1, 1.6, models=52),
    }


def answers(words: bool = True, compared: bool = True) -> dict[str, Any]:
    """Sample answers as a case has them, some with marks that HTML would take for its own."""
    said = [
        ("subject", "Where was Loma Senyobe born?", "In Dakar, above a candle shop, in winter 1951.", "In Oslo, above a river shop, in spring 1978."),
        ("subject", "What does <b>Loma</b> fear?", "Any violin in spring & <script>alert(1)</script> red doors, and the number 613.", ""),
        ("subject", "Who?", "W" * 70, "A hatter left behind 7 pages, a kettle and tickets to Riga." * 3),
        ("others", "Which prize did Vel Torbami win?", "The Lima compass for satire.", "The Lima compass for satire."),
    ]  # fmt: skip
    rows = []
    for about, question, taught, after in said:
        never = "In Narvik, above a <i>stone</i> shop." if compared else None
        kept = {
            "question": question,
            "taught": taught,
            "answers": {"original": taught, "unlearned": after, "never_saw": never},
        }
        near = {
            "original": 1.0,
            "unlearned": 0.44 if about == "subject" else 1.0,
            "never_saw": 0.4 if compared else None,
        }
        rows.append({"about": about, "overlap": near, **(kept if words else {})})
    why = "a reference that lacks these rows, and others" if compared else "no model that never saw the rows was kept"
    return {"words": words, "never_saw": why, "missing": None, "rows": rows}

"""What the JSON of :mod:`benchmarks.gpu` says: scores compared, checks that did not hold, and the table at the end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

#: The part that shows whether a process can use the device.
FIRST = "environment"
#: First words of the names of the trainings that those on the device are compared with.
ON_CPU = "small on the CPU,"
#: Standard errors by which the mean scores of two devices may differ.
MOST_STANDARD_ERRORS = 4.0


def finite(value: Any) -> Any:
    """Return the value with numbers that JSON does not have as text."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def compared_scores(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the scores of the trainings on the device with those on the CPU, or say why they cannot be compared."""
    ours = list(found.get("small", {}).get("results", {}).values())
    theirs = [
        run for name, part in found.items() if name.startswith(ON_CPU) for run in part.get("results", {}).values()
    ]
    if not ours or not theirs:
        return {"unknown": f"{len(ours)} trainings on the device and {len(theirs)} on the CPU ended in time"}
    compared: dict[str, Any] = {}
    for metric in ("mmd", "rf_auroc"):
        values = [[run[metric] for run in runs] for runs in (ours, theirs)]
        means = [statistics.fmean(each) for each in values]
        compared[metric] = {"device": means[0], "cpu": means[1]}
        if min(map(len, values)) > 1:
            error = math.sqrt(sum(statistics.variance(each) / len(each) for each in values))
            compared[metric] |= {
                "standard_error": error,
                "agrees": abs(means[0] - means[1]) <= MOST_STANDARD_ERRORS * error,
            }
    return compared


def failed_checks(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the checks that did not hold, by part and result."""
    results = {name: of.get("results", {}) for name, of in found.items()} | {"small_equals_cpu": compared_scores(found)}
    return [
        f"{part}: {name}"
        for part, of in results.items()
        for name, value in of.items()
        if isinstance(value, Mapping) and value.get("agrees") is False
    ]


def table(report: Mapping[str, Any]) -> str:
    """Return what a reader wants to see first, as lines."""
    lines = [f"{'step':34}{'ms':>10}{'h/240,000':>11}{'GB':>8}{'of roofline':>13}{'of products':>13}"]
    for name, part in report["parts"].items():
        for way, of in part.get("results", {}).items():
            if isinstance(of, Mapping) and "hours_of_240000" in of:
                shares = (of.get(f"share_of_{each}") for each in ("roofline", "products"))
                lines.append(
                    f"{name.removesuffix(' compiled') + ', ' + way:34}{1000 * of['seconds']:10.3f}"
                    f"{of['hours_of_240000']:11.2f}{of['peak_gb']:8.2f}"
                    + "".join(f"{'–' if share is None else f'{share:.0%}':>13}" for share in shares)
                )
    for name in FIRST, "rates", "generation":
        for key, value in report["parts"].get(name, {}).get("results", {}).items():
            lines.append(f"{name + ', ' + key:46}{f'{value:.4g}' if isinstance(value, float) else str(value):>20}")
    for case, of in report["parts"].get("agreement", {}).get("results", {}).items():
        farthest = max(of["device"][kind] / of["allowed"][kind] for kind in of["allowed"])
        lines.append(f"step, {case}: {farthest:.2f} of the allowed error; twice the same: {of['repeats_to_the_bit']}")
    for metric, of in report["small_equals_cpu"].items():
        lines.append(f"model=small, {metric}: {of}")
    for name, part in report["parts"].items():
        if part["status"] != "ok":
            lines.append(f"{part['status']}: {name}: {part['error']}")
    lines += [f"does not hold: {check}" for check in report["checks"]]
    return "\n".join(lines)

"""What an offline folder of W&B holds, as W&B's own reader tells it."""

import json
import subprocess
import sys
from pathlib import Path


def read(folder: Path) -> dict[str, list[dict]]:
    """The records of a run by their type."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records: dict[str, list[dict]] = {}
    for record in map(json.loads, done.stdout.splitlines()):
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


def summary(records: dict[str, list[dict]]) -> dict[str, object]:
    """Last value of each name."""
    values: dict[str, object] = {}
    for record in records["summary"]:
        values |= record.get("update", {})
    return values


def curve(records: dict[str, list[dict]], name: str) -> list[tuple[int, float]]:
    """Steps and values of one loss, in the order of the record."""
    items = [record["item"] for record in records["history"]]
    return [(item["trainer/global_step"], item[name]) for item in items if name in item]

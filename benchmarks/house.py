"""The size and the structure of the package: ``python -m benchmarks.house [CHECKOUT ...]``.

Of each checkout, this one by default: modules, lines of package and tests, the median and the longest module, and the
circles of imports, which are groups of modules or folders side by side that import each other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parents[1]
COUNT = "--circles"


def circles() -> int:
    """Return the number of circles in the ``llm4grn`` that is imported."""
    import grimp

    graph = grimp.build_graph("llm4grn", cache_dir=None)
    for entry in [module for module in graph.modules if module.endswith(".__main__")]:
        graph.remove_module(entry)  # `python -m llm4grn.grn` is the command line of a folder below it
    n_circles = 0
    for folder in graph.modules:
        pairs = permutations(sorted(graph.find_children(folder)), 2)
        imports = nx.DiGraph(
            pair for pair in pairs if graph.direct_import_exists(importer=pair[0], imported=pair[1], as_packages=True)
        )
        n_circles += sum(len(group) > 1 for group in nx.strongly_connected_components(imports))
    return n_circles


def row(checkout: Path) -> list[str]:
    """Return one row of the table."""
    package, tests = (
        {path: path.read_text().count("\n") for path in (checkout / name).rglob("*.py")}
        for name in ("llm4grn", "tests")
    )
    longest = max(package, key=lambda path: package[path])
    command = [sys.executable, __file__, COUNT]  # a process of its own, in which llm4grn is that of the checkout
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    n_circles = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    return [
        checkout.name,
        str(len(package)),
        f"{statistics.median(package.values()):.0f}",
        f"{package[longest]} ({longest.relative_to(checkout / 'llm4grn')})",
        n_circles,
        f"{sum(package.values()):,}",
        f"{sum(tests.values()):,}",
    ]


def main(arguments: list[str]) -> None:
    if arguments == [COUNT]:
        print(circles())
        return
    header = ["checkout", "modules", "median lines", "longest", "circles", "lines of package", "lines of tests"]
    rows = [row(Path(each).resolve()) for each in arguments or [str(ROOT)]]
    for line in header, ["---"] * len(header), *rows:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])

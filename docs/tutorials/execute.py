"""Run the tutorials and store their outputs: ``python docs/tutorials/execute.py [NAME ...]``, or ``make tutorials``.

Each notebook runs in a temporary folder. Progress bars and warnings (stderr) are left out of what is stored.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
TUTORIALS = ("answer_the_question", "your_own_data", "your_own_language_model")


def execute(path: Path, folder: Path, parameters: str | None = None, timeout: int = 3600) -> nbformat.NotebookNode:
    """Return an executed copy of a notebook.

    Parameters
    ----------
    path
        The notebook.
    folder
        Working directory of the kernel.
    parameters
        Source that replaces the cell tagged ``parameters``; None keeps it.
    timeout
        Seconds for each cell.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters is not None:
        (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
        cell.source = parameters
    # The notebooks call the command: it stands beside this interpreter, and the package beside this file.
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(FOLDER.parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    client = NotebookClient(
        notebook, timeout=timeout, coalesce_streams=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return notebook


def main(names: list[str]) -> None:
    for name in names or TUTORIALS:
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # the times of day
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Every tutorial runs from top to bottom, in small."""

import importlib.util

import pytest
from tiny import CONF

pytest.importorskip("nbclient")

FEW_TREES = "from llm4grn.metrics import functional\nfunctional.rf_auroc.__kwdefaults__['n_trees'] = 20"
SMALL = {
    "answer_the_question": 'STEPS = 2\nMETRICS = ["gene_means"]',
    "your_own_data": f"STEPS = 2\nN_GENES = 60\n{FEW_TREES}",
    "your_own_language_model": "N_GENES = 60",
}
FOLDER = CONF.parent / "docs" / "tutorials"
_spec = importlib.util.spec_from_file_location("execute_tutorials", FOLDER / "execute.py")
tutorials = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tutorials)


def test_every_notebook_is_run():
    assert sorted(SMALL) == sorted(tutorials.TUTORIALS) == sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("name", tutorials.TUTORIALS)
def test_tutorial_runs(name, tmp_path):
    path = FOLDER / f"{name}.ipynb"
    before = path.read_bytes()
    notebook = tutorials.execute(path, tmp_path, SMALL[name], timeout=600)
    assert path.read_bytes() == before
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)


@pytest.mark.parametrize("name", tutorials.TUTORIALS)
def test_stored_outputs_are_there_and_name_no_machine(name):
    import nbformat

    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert sum(bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code") >= 8
    assert not any(output.get("name") == "stderr" for cell in notebook.cells for output in cell.get("outputs", ()))
    assert all(word not in path.read_text() for word in ("/home/", "/root/", "/tmp/", "/work/"))
    assert path.stat().st_size < 1_000_000

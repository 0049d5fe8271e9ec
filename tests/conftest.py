"""The server and the data of the tests in ``llm/`` serve those of knowledge bases, inferers and scripts as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("llm")))

#: The longest files come first, longest of all first: begun last, one of them would leave the other core idle.
LONGEST = ["test_sweeps.py", "test_scripts.py", "test_llm_scripts.py", "test_distributed.py", "test_ddp.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))

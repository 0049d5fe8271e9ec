"""The server and the data of the tests in ``llm/`` serve those of knowledge bases, inferers and scripts as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("llm")))

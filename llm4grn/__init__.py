"""llm4grn: can a large language model draw a gene regulatory network?"""

import os

__version__ = "0.1.0"

# OpenMP threads of torch spin for milliseconds after each product, on the cores that the target generators need next.
# Seen once by hand on 2 cores, a short spin saved a quarter to a third of a step; no benchmark holds it yet. Read when
# torch is imported, so set before.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

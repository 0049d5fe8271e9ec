"""llm4grn: can a large language model draw a gene regulatory network?"""

import os

__version__ = "0.1.0"

# OpenMP threads of torch spin for milliseconds after each product, on the cores that the target generators need next.
# A short spin made a training step 25 to 35 % faster on 2 cores. Read when torch is imported, so set before.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

"""Interventions on a finished run: the same generated cells before and after, fold changes per gene, pictures."""

from llm4grn.cli.perturb import main

if __name__ == "__main__":
    main()

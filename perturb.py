"""Intervene on genes of a finished run: the same generated cells before and after, fold changes per gene, figures."""

from llm4grn.cli.perturb import main

if __name__ == "__main__":
    main()

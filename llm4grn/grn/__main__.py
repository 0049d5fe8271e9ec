"""Entry point of ``python -m llm4grn.grn``."""

from llm4grn.cli.grn import main

main()

"""Entry point of ``python -m llm4grn.llm``."""

from llm4grn.cli.answers import main

main()

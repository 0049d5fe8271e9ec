"""Run the command ``llm4grn`` as ``python -m llm4grn``."""

from llm4grn.cli.app import main

if __name__ == "__main__":
    main()

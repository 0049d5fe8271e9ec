"""``python -m llm4grn``: the command ``llm4grn``."""

from llm4grn.cli.app import main

if __name__ == "__main__":
    main()

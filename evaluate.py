"""Compare finished runs: a verdict in words, tables, figures, and one page that shows them all."""

from llm4grn.cli.evaluate import main

if __name__ == "__main__":
    main()

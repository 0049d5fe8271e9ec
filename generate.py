"""Write any number of cells from a finished run to one .h5ad, in constant memory."""

from llm4grn.cli.generate import main

if __name__ == "__main__":
    main()

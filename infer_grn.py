"""The line up to the causal graph: who is a transcription factor, who regulates whom, and what would be imposed."""

from llm4grn.cli.infer_grn import main

if __name__ == "__main__":
    main()

"""Run the pipeline up to the causal graph: transcription factors, ranked edges, and the graph to impose."""

from llm4grn.cli.infer_grn import main

if __name__ == "__main__":
    main()

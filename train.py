"""Run the whole pipeline for one setting: counts, TFs, GRN, causal graph, causal GAN, synthetic cells, scores."""

from llm4grn.cli.train import main

if __name__ == "__main__":
    main()

"""The generator: a causal controller (stage 1) that makes transcription factors, and a causal GAN (stage 2) that
makes every other gene from its regulators alone (Zinati et al. 2024; Kocaoglu et al. 2018)."""

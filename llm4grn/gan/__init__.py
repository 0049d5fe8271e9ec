"""The generator: a causal controller (stage 1) that generates transcription factors, and a causal GAN (stage 2) that
generates every other gene from its regulators alone (Zinati et al. 2024; Kocaoglu et al. 2018)."""

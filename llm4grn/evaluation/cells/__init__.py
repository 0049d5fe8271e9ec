"""The cells of finished runs: embeddings, types, markers, interventions."""

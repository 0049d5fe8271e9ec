"""Cells of finished runs: embeddings, cell types, marker genes, interventions."""

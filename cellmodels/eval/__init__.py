"""What embeddings, clusters and topics are worth: metrics, curves, enrichment, benchmarks."""

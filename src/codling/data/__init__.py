"""Text to batches: sources, tokenized documents, packing, mixture, loader."""

"""Text to token ids and back: training, encoding, the chat template, the files that other libraries read."""

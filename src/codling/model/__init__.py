"""The language model: pure functions and Equinox modules, nothing about training, files or quantization."""

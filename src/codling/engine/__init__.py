"""The Python face of the native engine (`native/`): bundles on an ordinary processor, without JAX."""

"""The only gradient engine: loss, step, loop, checkpoint, metrics."""

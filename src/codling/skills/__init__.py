"""Skills that a small model can learn: conversations to tune on, with scores and trivial baselines."""

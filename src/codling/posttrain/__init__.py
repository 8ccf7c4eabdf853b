"""Post-training: supervised fine-tuning; demonstrations, preference pairs, and the losses that learn from them."""

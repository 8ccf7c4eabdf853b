"""Post-training stages: supervised fine-tuning."""

"""Post-training stages: conversations and supervised fine-tuning."""

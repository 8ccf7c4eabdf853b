"""Pre-training stages, in the order of the recipe: core, pruning, distillation, continued, context-lengthening."""

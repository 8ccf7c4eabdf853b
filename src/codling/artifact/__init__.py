"""What stages leave behind, and the one place that knows directories and file formats."""

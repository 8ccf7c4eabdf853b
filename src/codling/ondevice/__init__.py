"""The stages that make a model small enough for a device: palettization and recovery."""

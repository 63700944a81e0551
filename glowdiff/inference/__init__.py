"""What scripts and commands ask of trained models."""

"""Networks that predict noise, and their layers."""

"""Networks that guide sampling: what they say of a noisy image."""

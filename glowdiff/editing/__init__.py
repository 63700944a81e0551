"""Editing pictures through their latents (Glow, section 5)."""

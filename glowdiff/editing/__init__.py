"""Editing pictures: through their latents (Glow, section 5), or by noise (GLIDE, SDEdit)."""

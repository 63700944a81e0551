"""Diffusion: the process, its losses, its likelihood bound, and the methods that train denoisers and classifiers."""

"""Invertible layers: `layer(x, inverse=False) -> (x, logdet)`, the log-determinant per example [B]."""

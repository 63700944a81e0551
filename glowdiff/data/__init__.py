"""Data sets and their batches.

`dataset.load` reads or prepares what a configuration names, `batches` makes batches of it, `spec` holds the facts that
shape a model. Nothing is imported here: models need the facts without the libraries that read images.
"""

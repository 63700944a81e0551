"""Configurations: `ml_collections` outside, checked dataclasses inside.

`schema` holds the sections that all methods share, `parse` goes from files, flags and JSON to them and back. Nothing is
imported here: the models' own sections build on `schema`, and `parse` on the models.
"""

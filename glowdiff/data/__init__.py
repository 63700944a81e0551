"""Data sets and their batches."""

from glowdiff.data.batches import Batch, EvalBatch, TrainIterator, init_batch, test_batches, train_batches
from glowdiff.data.dataset import Dataset, load, prepare
from glowdiff.data.sources import Source
from glowdiff.data.spec import DataSpec, spec_from_json, spec_to_json

__all__ = [
    "Batch",
    "DataSpec",
    "Dataset",
    "EvalBatch",
    "Source",
    "TrainIterator",
    "init_batch",
    "load",
    "prepare",
    "spec_from_json",
    "spec_to_json",
    "test_batches",
    "train_batches",
]

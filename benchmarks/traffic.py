"""How many bytes a compiled program moves in and out of a TPU's memory, read from its HLO text.

Every array that an instruction reads or writes counts once each time it runs, loop bodies times their lengths, as large
as it lies in memory: a TPU fills the last two sides of an array up to its tiles. What a slice leaves out is not read,
what an update in place leaves alone is not written, and arrays that the compiler keeps on the chip do not count. A
convolution that reads an array several times moves more, so this is a lower bound.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from benchmarks.hlo import Instruction, Module, item_bytes, parse_module, walk

_ARRAY = re.compile(r"\b([a-z]+\d*)(?:e\d+m\d+\w*)?\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
# What names bytes, or says in which order to run, and moves nothing itself.
_FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "call", "after-all",
         "partition-id", "replica-id", "opt-barrier", "optimization-barrier", "async-update")  # fmt: skip
_SLICES = ("slice", "dynamic-slice", "gather")
_CONTROL = ("while", "conditional", "call")


class Traffic(NamedTuple):
    """Of one device in one call of the program."""

    bytes: int
    lengths_known: bool  # of all loops; the body of one whose length is not known counts once


def hbm_traffic(text: str) -> Traffic:
    """Bytes that a program reads and writes in its device's memory at least."""
    module, total, known = parse_module(text), 0, True
    names = {key: {i.name: i for i in instructions} for key, instructions in module.computations.items()}
    sizes: dict[int, int] = {}  # by identity: a body may be visited more than once
    for visit in walk(module):
        if visit.caller is not None and visit.caller.opcode not in _CONTROL:
            continue  # inside a fusion nothing reaches the memory
        known &= visit.times is not None
        key = id(visit.instruction)
        if key not in sizes:
            sizes[key] = _moved(module, visit.instruction, names[visit.computation])
        total += sizes[key] * (visit.times or 1)
    return Traffic(total, known)


def stored_bytes(shape: str) -> int:
    """Bytes that an HLO shape takes in a device's main memory, tiles filled up; a tuple's elements added up.

    >>> stored_bytes("(f32[9,3]{1,0:T(8,128)}, bf16[3]{0:S(1)})")  # the second lies elsewhere
    8192
    """
    total = 0
    for kind, numbers, order, layout in _ARRAY.findall(shape):
        if re.search(r"S\([1-9]", layout):
            continue
        sides = [int(side) for side in numbers.split(",") if side]
        tiles = re.search(r"T\(([\d,]+)\)", layout)
        if tiles:
            fastest = [int(axis) for axis in order.split(",") if axis]
            for axis, tile in zip(fastest, reversed(tiles[1].split(",")), strict=False):
                sides[axis] = -(-sides[axis] // int(tile)) * int(tile)
        total += item_bytes(kind) * math.prod(sides)
    return total


def _moved(module: Module, instruction: Instruction, names: dict[str, Instruction]) -> int:
    """What one instruction outside fusions reads and writes."""
    code = instruction.opcode
    if code in _FREE or code.endswith("-done") or "AllocateBuffer" in instruction.rest:
        return 0
    if code.endswith("-start"):  # its shape is a tuple of what is read and what is written
        return stored_bytes(instruction.shape)
    if code in _SLICES:
        return 2 * stored_bytes(instruction.shape)
    operands = dict.fromkeys(instruction.operands())
    arrays = [names[name].shape if name in names else "" for name in operands]
    if code == "dynamic-update-slice":
        return 2 * stored_bytes(arrays[1])
    if code != "fusion":
        return sum(map(stored_bytes, arrays)) + stored_bytes(instruction.shape)
    body = instruction.attribute("calls")
    read = sum(
        stored_bytes(array) if part is None else part
        for array, part in zip(arrays, (_read(module, body, i) for i in range(len(arrays))), strict=True)
    )
    return read + _written(module, body, instruction.shape)


def _read(module: Module, body: str, index: int) -> int | None:
    """Bytes that a fused computation reads of its parameter `index`; None: all of it."""
    instructions = module.computations.get(body, [])
    aliases = {i.name for i in instructions if i.opcode == "parameter" and i.rest.startswith(f"{index})")}
    total = 0
    for instruction in instructions:
        operands = instruction.operands()
        if not aliases.intersection(operands):
            continue
        if instruction.opcode == "bitcast":
            aliases.add(instruction.name)
        elif instruction.opcode in _SLICES and operands[0] in aliases:
            total += stored_bytes(instruction.shape)
        elif instruction.opcode == "fusion":
            parts = [
                _read(module, instruction.attribute("calls"), place)
                for place, name in enumerate(operands)
                if name in aliases
            ]
            if None in parts:
                return None
            total += sum(part or 0 for part in parts)
        elif instruction.opcode != "dynamic-update-slice" or operands.index(next(iter(aliases & set(operands)))):
            return None
    return total


def _written(module: Module, body: str, shape: str) -> int:
    """Bytes that a fused computation writes: of an update in place no more than what is new."""
    instructions = {i.name: i for i in module.computations.get(body, [])}
    if not instructions:
        return stored_bytes(shape)
    root = list(instructions.values())[-1]  # HLO is written in the order in which it can run
    results = [instructions[name] for name in root.operands()] if root.opcode == "tuple" else [root]
    total = 0
    for result in results:
        while result.opcode == "bitcast" and result.operands()[0] in instructions:
            result = instructions[result.operands()[0]]
        if result.opcode == "dynamic-update-slice":
            result = instructions[result.operands()[1]]
        total += stored_bytes(result.shape)
    return total

"""What the text of a compiled program says of its instructions."""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping
from typing import NamedTuple

CONTAINERS = ("while", "conditional", "call")  # they run other instructions, which a trace holds as well


class Instruction(NamedTuple):
    """One instruction."""

    opcodes: tuple[str, ...]  # its own, and those that it fuses
    paths: tuple[str, ...]  # where in the model they come from


class Program(NamedTuple):
    """A compiled program."""

    name: str
    instructions: Mapping[str, Instruction]


def read_program(text: str) -> Program:
    """The program of a text, which is that of XLA (`Compiled.as_text`)."""
    module = re.match(r"HloModule ([\w.-]+)", text)
    inside: dict[str, list[Instruction]] = collections.defaultdict(list)
    by_name: dict[str, tuple[Instruction, str]] = {}
    computation = ""
    for line in text.splitlines():
        if head := re.match(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$", line):
            computation = head[1]
        elif assignment := re.match(r"\s+(?:ROOT )?%?([\w.-]+) =(.*)", line):
            opcodes = re.findall(r" ([a-z][\w-]*)\(", assignment[2])[:1]
            paths = [re.sub(r"^jit\(\w+\)/", "", each) for each in re.findall(r'op_name="([^"]*)"', line)[:1]]
            calls = re.search(r"calls=%?([\w.-]+)", line)
            own = Instruction(tuple(opcodes), tuple(paths))
            inside[computation].append(own)
            by_name[assignment[1]] = own, calls[1] if calls else ""
    instructions = {}
    for name, (own, calls) in by_name.items():
        all_of_it = (own, *inside.get(calls, ()))
        opcodes, paths = (tuple(each for one in all_of_it for each in one[field]) for field in (0, 1))
        instructions[name] = Instruction(opcodes, paths)
    return Program(module[1] if module else "", instructions)

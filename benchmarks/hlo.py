"""What a compiled program does between devices and inside its loops, read from its HLO text (`compiled.as_text()`)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
               "collective-broadcast")  # fmt: skip
_BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16}

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|condition|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch|called)_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"\b([a-z]+\d*)(?:e\d+m\d+\w*)?\[([\d,]*)\]")
_PASSING_ON = ("get-tuple-element", "bitcast", "copy", "convert", "reshape", "transpose")
# Dense factorisations: operations of XLA, custom calls of its backends, and the JAX primitives that they stem from.
_DENSE_OPCODES = ("triangular-solve", "cholesky")
_DENSE_TARGET = re.compile(
    r"getr[fs]|trsm|potrf|geqrf|orgqr|gesv|gesdd|syevd|Lu|Cholesky|Triang|InvertDiag|Qr|Eigh|Svd", re.ASCII
)
_DENSE_SOURCE = re.compile(r"/(lu|triangular_solve|cholesky|custom_linear_solve|qr|geqrf|eigh|svd|inv|slogdet)(/|$)")


@dataclass
class Instruction:
    """One line of HLO."""

    name: str
    shape: str
    opcode: str
    rest: str  # operands and attributes

    @property
    def source(self) -> str:
        """The JAX operation it stems from; empty if the compiler made it up."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    def attribute(self, name: str) -> str:
        """The computation that an attribute such as `body` names."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found[1] if found else ""

    def operands(self) -> list[str]:
        """Names of what it is computed from."""
        return re.findall(r"%([\w.\-]+)", self.rest.split(")")[0])

    def called(self) -> list[str]:
        """Names of all computations that it calls."""
        several = [name.strip(" %") for names in _BRANCHES.findall(self.rest) for name in names.split(",")]
        return _CALLED.findall(self.rest) + [name for name in several if name]


@dataclass
class Module:
    """Computations by name."""

    computations: dict[str, list[Instruction]] = field(default_factory=dict)
    entry: str = ""


class Visit(NamedTuple):
    """An instruction where it runs."""

    instruction: Instruction
    computation: str
    caller: Instruction | None
    loops: int  # depth of loops around it
    times: int | None  # how often it runs per call of the program; None: the length of a loop is not known


class Collective(NamedTuple):
    """A collective operation, as often as it is written in the program."""

    kind: str
    bytes: int  # of the whole arrays, on one device: what is reduced, or what has been gathered
    shapes: tuple[str, ...]
    loops: int  # depth of loops around it
    times: int | None  # how often it runs per call of the program; None: the length of a loop is not known
    sources: tuple[str, ...]  # the JAX operations that it stems from, as far as the compiler has noted them
    group: int | None = None  # devices that it joins; None: all there are, or the compiler does not say


def parse_module(text: str) -> Module:
    """Read HLO text."""
    module, current = Module(), None
    for line in text.splitlines():
        found = None if line.startswith(" ") else _COMPUTATION.match(line)
        if found:
            current = module.computations.setdefault(found[1], [])
            if line.startswith("ENTRY"):
                module.entry = found[1]
        elif current is not None:
            found = _INSTRUCTION.match(line)
            if found:
                current.append(Instruction(*found.groups()))
    return module


def find_collectives(text: str) -> list[Collective]:
    """Every collective of a compiled program, those of called computations and loop bodies included."""
    module, result, chains = parse_module(text), [], set()
    names = {key: {i.name: i for i in instructions} for key, instructions in module.computations.items()}
    for instruction, computation, caller, loops, times in walk(module):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        # The TPU compiler cuts one gathering into a chain of pieces, each fused with work that hides it.
        chain = re.search(r'chain_id="(\d+)"', instruction.rest)
        if chain:
            channel = re.search(r"channel_id=(\d+)", instruction.rest)
            key = (kind, chain[1], channel[1] if channel else "", instruction.source)
            if key in chains:
                continue
            chains.add(key)
        operands = [names[computation].get(name) for name in instruction.operands()]
        shape = _result_shape(instruction)
        if kind == "reduce-scatter":  # its result is only a part
            shape = ", ".join(operand.shape for operand in operands if operand)
        if "all-reduce-scatter" in computation:
            kind = "reduce-scatter"  # a TPU's: an all-reduce of which each device keeps a part
        # A combined collective notes one source, its operands know theirs; a fused one may know only its caller's.
        origins = (instruction, *(_origin(operand, names[computation]) for operand in operands), caller)
        sources = {origin.source for origin in origins if origin} - {""}
        arrays = tuple(f"{kind}[{sides}]" for kind, sides in _ARRAY.findall(shape))
        size, group = shape_bytes(shape), _group_size(instruction.rest)
        result.append(Collective(kind, size, arrays, loops, times, tuple(sorted(sources)), group))
    return result


def dense_algebra_in_loops(text: str) -> list[str]:
    """Factorisations, solves and inversions inside loop bodies, named by their JAX operation; the fewer the better.

    A loop that is itself part of a factorisation (some backends spell LU and triangular solves as loops) does not
    count as a loop around it.
    """
    module = parse_module(text)
    found = []
    for instruction, _, _, loops, _ in walk(module, dense_loops_count=False):
        target = re.search(r'custom_call_target="([^"]*)"', instruction.rest)
        dense = (
            instruction.opcode in _DENSE_OPCODES
            or (target is not None and _DENSE_TARGET.search(target[1]) is not None)
            or (instruction.opcode == "while" and _DENSE_SOURCE.search(_own_source(instruction)) is not None)
        )
        if loops and dense:
            found.append(instruction.source or instruction.name)
    return sorted(set(found))


def _origin(instruction: Instruction | None, names: dict[str, Instruction]) -> Instruction | None:
    """The instruction that computes what a nameless one only passes on: an element of a tuple, a copy."""
    while instruction and not instruction.source and instruction.opcode in _PASSING_ON:
        operand = re.search(r"%([\w.\-]+)", instruction.rest)
        instruction = names.get(operand[1]) if operand else None
    return instruction


def shape_bytes(shape: str) -> int:
    """Bytes of an HLO shape, a tuple's elements added up.

    >>> shape_bytes("(f32[8,4]{1,0:T(8,128)}, bf16[3]{0})")
    134
    """
    total = 0
    for kind, sides in _ARRAY.findall(shape):
        total += item_bytes(kind) * math.prod(int(side) for side in sides.split(",") if side)
    return total


def item_bytes(kind: str) -> int:
    """Bytes of an element of a type such as `f32`; 0 of a token."""
    digits = re.search(r"\d+", kind)
    return _BYTES.get(kind) or (max(int(digits[0]) // 8, 1) if digits else 0)


def walk(module: Module, dense_loops_count: bool = True) -> list[Visit]:
    """Every instruction, those of called computations included, as often as it is called."""
    visits: list[Visit] = []

    def visit(computation: str, caller: Instruction | None, loops: int, times: int | None) -> None:
        for instruction in module.computations.get(computation, []):
            visits.append(Visit(instruction, computation, caller, loops, times))
            if instruction.opcode == "while":
                dense = _DENSE_SOURCE.search(_own_source(instruction))
                inside = loops if dense and not dense_loops_count else loops + 1
                trips = _trip_count(module, instruction)
                repeated = None if times is None or trips is None else times * trips
                visit(instruction.attribute("body"), instruction, inside, repeated)
                continue
            for called in instruction.called():
                visit(called, instruction, loops, times)

    visit(module.entry, None, 0, 1)
    return visits


def _own_source(instruction: Instruction) -> str:
    """The source of a loop without that of the loops around it: what comes after the last `while/body`."""
    return instruction.source.rsplit("while/body", 1)[-1]


def _trip_count(module: Module, loop: Instruction) -> int | None:
    """The length of a loop: as the compiler notes it, or as the only bound that its condition compares with."""
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = module.computations.get(loop.attribute("condition"), [])
    bounds = [
        i.rest.split(")")[0] for i in condition if i.opcode == "constant" and i.shape.startswith(("s32[]", "s64[]"))
    ]
    compares = [i for i in condition if i.opcode == "compare" and "direction=LT" in i.rest]
    return int(bounds[0]) if len(bounds) == 1 and len(compares) == 1 and bounds[0].isdigit() else None


def _group_size(rest: str) -> int | None:
    """How many devices a collective joins, of its attributes; each of the compiler's three notations."""
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):  # axes of a mesh
        sides = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sides[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if regular := re.search(r"replica_groups=\[\d+,(\d+)\]<=", rest):  # groups, devices in each
        return int(regular[1])
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", rest)
    return len(listed[1].split(",")) if listed else None


def _result_shape(instruction: Instruction) -> str:
    """The shape of what a collective yields; asynchronous ones start with a tuple of operands and results."""
    if instruction.opcode in ("all-gather-start", "collective-permute-start"):
        return _elements(instruction.shape)[1]
    return instruction.shape


def _elements(shape: str) -> list[str]:
    """The elements of a tuple's shape."""
    elements, depth, current = [], 0, ""
    for letter in shape[1:-1]:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            elements.append(current)
            current = ""
        else:
            current += letter
    return [*elements, current]

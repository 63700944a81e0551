"""PyTorch's files of arrays (.pt, .pth), read without PyTorch and without running anything that they hold.

Such a file is a pickle of names, shapes and places, and raw numbers. Of the pickle's language only the words that build
dictionaries, lists, tuples and plain values are obeyed here. What it calls for by name is never looked up: the few
names that stand for arrays are known, and everything else becomes a `Stranger`.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C  # the number that begins files by PyTorch before 1.6, and for long after by choice
_DTYPES = {
    "DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16, "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8,
    "ByteStorage": np.uint8, "BoolStorage": np.bool_,
}  # fmt: skip
_REBUILD = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
_DICT = "collections OrderedDict"


class Unknown(ValueError):
    """A file that is none of PyTorch's, or of a kind that only PyTorch reads."""


class Damaged(ValueError):
    """A file of PyTorch's that is cut off or makes no sense; the message says what of it."""


class Stranger(NamedTuple):
    """Something in a file that is no array."""

    name: str


class Later(NamedTuple):
    """An array that is still in its file."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class _Module(dict[str, Any]):
    """A module of a TorchScript program: its attributes by name."""


class _Array(NamedTuple):
    storage: tuple[str, np.dtype, int]  # key, type and number of its numbers
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in numbers


Numbers = Callable[[str, np.dtype, int], np.ndarray]  # (key, type, number of its numbers) -> a storage


def read(path: Path) -> Any:
    """What a file holds: for a state dict, a dictionary of arrays; what is no array of it is a `Stranger` or a value.

    Of a TorchScript program, as CLIP was published, the state dict.

    Raises:
      Unknown: it is another kind of file.
      Damaged: it is cut off, or does not make sense.
    """
    with path.open("rb") as file:
        return _content(file, _place)


def index(path: Path) -> Any:
    """As `read`, but arrays are `Later`: in files by PyTorch since 1.6 they stay until they are asked for.

    Raises:
      Unknown, Damaged: as of `read`; `Later.read` raises `Damaged` too.
    """
    file = path.open("rb")  # which the arrays keep open
    return _content(file, lambda array, numbers: Later(array.shape, lambda: _guarded(lambda: _place(array, numbers))))


def _content(file: IO[bytes], each: Callable[[_Array, Numbers], Any]) -> Any:
    start = file.read(2)
    file.seek(0)
    if start == b"PK":
        return _guarded(lambda: _zipped(file, each))
    if start == b"\x80\x02":
        return _guarded(lambda: _in_a_row(file, each))
    raise Unknown("it does not begin as PyTorch's files do")


def _guarded(reader: Callable[[], Any]) -> Any:
    try:
        return reader()
    except (Unknown, Damaged):
        raise
    except Exception as error:  # of what is cut off or made up, nearly anything
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _zipped(file: IO[bytes], each: Callable[[_Array, Numbers], Any]) -> Any:
    """Since PyTorch 1.6, and of programs: an archive of `data.pkl` and a member for every storage."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise Damaged("it is cut off, or no archive") from error
    root = next((name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")), None)
    if root is None:
        raise Unknown("it is an archive of other things")

    def numbers(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        member = archive.getinfo(f"{root}data/{key}")
        if member.file_size != count * dtype.itemsize or member.compress_type != zipfile.ZIP_STORED:
            raise Damaged(f"storage {key} has {member.file_size:,} bytes")
        return np.frombuffer(archive.read(member), dtype)

    with archive.open(f"{root}data.pkl") as pickled:
        content = _obeyed(pickled)
    return _filled(_state(content, "") if isinstance(content, _Module) else content, numbers, each)


def _in_a_row(file: IO[bytes], each: Callable[[_Array, Numbers], Any]) -> Any:
    """Before: five pickles (a number, a version, the machine, the content, keys of storages) and then these."""
    if _obeyed(file) != _MAGIC:
        raise Unknown("it is a pickle of something else")
    _, _, content, keys = (_obeyed(file) for _ in range(4))
    types = {array.storage[0]: array.storage[1] for array in _arrays(content)}
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        data = file.read(count * types[key].itemsize)
        if len(data) != count * types[key].itemsize:
            raise Damaged(f"it is cut off: {len(storages):,} of {len(keys):,} arrays are whole")
        storages[key] = np.frombuffer(data, types[key])
    return _filled(content, lambda key, *_: storages[key], each)


def _state(module: _Module, prefix: str) -> dict[str, _Array]:
    """The arrays of a module and of those within it, by their paths."""
    found: dict[str, _Array] = {}
    for name, value in module.items():
        if isinstance(value, _Module):
            found |= _state(value, f"{prefix}{name}.")
        elif isinstance(value, _Array):
            found[f"{prefix}{name}"] = value
    return found


def _arrays(content: Any) -> list[_Array]:
    if isinstance(content, _Array):
        return [content]
    inner = content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ()
    return [array for each in inner for array in _arrays(each)]


def _filled(content: Any, numbers: Numbers, each: Callable[[_Array, Numbers], Any]) -> Any:
    """The content with what `each` makes of its arrays."""
    if isinstance(content, _Array):
        return each(content, numbers)
    if isinstance(content, dict):
        return {name: _filled(value, numbers, each) for name, value in content.items()}
    return [_filled(value, numbers, each) for value in content] if isinstance(content, list) else content


def _place(array: _Array, numbers: Numbers) -> np.ndarray:
    """The numbers of an array in their places."""
    flat = numbers(*array.storage)
    last = array.offset + sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    empty = math.prod(array.shape) == 0
    if min((array.offset, *array.shape, *array.strides)) < 0 or (last >= len(flat) and not empty):
        raise Damaged(f"an array {list(array.shape)} reaches beyond the {len(flat):,} numbers of its storage")
    if empty:
        return np.zeros(array.shape, flat.dtype)
    strides = [step * flat.itemsize for step in array.strides]
    return np.lib.stride_tricks.as_strided(flat[array.offset :], array.shape, strides).copy()


# ---- The pickle's language, as far as it is obeyed.


def _obeyed(file: IO[bytes]) -> Any:
    """The value that a pickle builds; the file is left behind it."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def popped() -> list[Any]:
        """What was put on the stack since the last mark."""
        at = marks.pop()
        items = stack[at:]
        del stack[at:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        word = opcode.name
        if word in ("PROTO", "FRAME"):
            continue
        if word == "STOP":
            return stack.pop()
        if word == "MARK":
            marks.append(len(stack))
        elif word in _VALUES:
            stack.append(argument)
        elif word in _MADE:
            stack.append(_MADE[word]())
        elif word in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif word == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif word in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif word == "TUPLE":
            stack.append(tuple(popped()))
        elif word in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(word[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif word in ("SETITEM", "SETITEMS"):
            items = popped() if word == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            if isinstance(stack[-1], dict):
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif word in ("APPEND", "APPENDS"):
            items = popped() if word == "APPENDS" else [stack.pop()]
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
        elif word == "GLOBAL":
            stack.append(Stranger(argument))
        elif word == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(Stranger(f"{module} {name}"))
        elif word == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif word in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(called, arguments))
        elif word == "BUILD":  # attributes, also of a state dict (`_metadata`)
            attributes = stack.pop()
            if isinstance(stack[-1], _Module):
                stack[-1].update(attributes)
        else:
            raise Unknown(f"its pickle says {word}")
    raise Damaged("its pickle has no end")


_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES",
)  # fmt: skip
_MADE: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "NONE": lambda: None, "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}  # fmt: skip


def _storage(identity: Any) -> Any:
    """(storage, type, key, device, count, ...) -> what `_Array` needs to know of it."""
    kind, of, key, _, count = identity[:5]
    name = of.name.removeprefix("torch ") if isinstance(of, Stranger) else ""
    if kind != "storage" or name not in _DTYPES:
        raise Unknown(f"it holds numbers of the type {name or kind}")
    return str(key), np.dtype(_DTYPES[name]), int(count)


def _called(called: Any, arguments: tuple[Any, ...]) -> Any:
    name = called.name if isinstance(called, Stranger) else ""
    if name == _DICT:
        return {}
    if name == _REBUILD[0]:
        storage, offset, shape, strides = arguments[:4]
        return _Array(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
    if name == _REBUILD[1]:  # of a parameter: the array is its first argument
        return arguments[0]
    return _Module() if name.startswith("__torch__") else Stranger(name)

"""Any folder of images of the user's, read once into prepared files.

Sub-folders are classes; images directly in the folder have no labels. Sub-folders named like splits are the splits (see
`glowdiff.data.folder.layout`); otherwise a fixed hash of the file's name holds out `test_fraction`. Captions are in
`metadata.csv`, `metadata.jsonl` or a text file beside each image: see `glowdiff.data.folder.captions`.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from glowdiff.config.sections import DataConfig
from glowdiff.data import records
from glowdiff.data.folder.captions import Captions, read_captions
from glowdiff.data.folder.files import File, composed, fingerprint, is_text, list_files
from glowdiff.data.folder.layout import Layout, Place, find_layout
from glowdiff.data.folder.pixels import Twins, read, read_all
from glowdiff.data.folder.report import REPORT_FILE, Report
from glowdiff.data.holdout import held_out
from glowdiff.data.progress import counted
from glowdiff.data.store import data_dir, prepare_once
from glowdiff.errors import ConfigError
from glowdiff.pictures.reader import Refused, read_size
from glowdiff.spec import DataSpec


def prepare(config: DataConfig) -> Path:
    """The directory of the prepared set, written unless the same folder has been prepared before.

    Files that cannot be used are named on stderr and in `report.json` in that directory.

    Raises:
      ConfigError: there is no folder, no image in it, its sub-folders may be splits or classes, the images differ in
        size while `config.size` is None, captions cannot be read, or more than `config.max_bad` of the files are
        refused.
    """
    folder = Path(config.path or "").expanduser()
    if not folder.is_dir():
        what = "a file" if folder.is_file() else "no folder"
        raise ConfigError(f"data.path is {folder}, which is {what}; it must be the folder of your images.")
    listing = list_files(folder)
    if not listing.files:
        raise ConfigError(f"data.path is {folder}, which is empty; it must be the folder of your images.")
    layout = find_layout(folder, listing)
    key = fingerprint(folder, listing.files, layout, config.size, config.test_fraction)
    target = data_dir(config.dir) / "folder" / key
    refusals = target.with_name(f"{key}-refused.json")
    prepare_once(target, lambda scratch: _write(scratch, folder, listing.files, layout, config, refusals))
    report = Report.read(target / REPORT_FILE)
    report.folder = str(folder)  # a moved folder is the same data
    report.require_few(config.max_bad, refusals)
    report.show(target / REPORT_FILE)
    return target


def _write(scratch: Path, folder: Path, files: list[File], layout: Layout, config: DataConfig, refusals: Path) -> Path:
    """Read `files`, write those that can be used under `scratch`, and return the finished directory."""
    captions = read_captions(folder, files)
    files = [file for file in files if file.name not in captions.files and not layout.leaves_out(file)]
    report = Report(str(folder), len(files), notes=[*layout.notes, *captions.notes])
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large images; what matters is in the report.
        warnings.filterwarnings("ignore", module="PIL")
        sizes = _read_sizes(folder, files, report)
        places = _captioned(_places(files, sizes, layout, report), captions, report)
        if config.size is None:
            _refuse_damaged_sizes(folder, places, sizes, report)
        _require_two(places, config, report, refusals)
        height, width = _common_size(folder, [sizes[file.name] for file in places], config.size)
        classes = tuple(sorted({where.group for where in places.values() if where.group is not None}))
        spec = DataSpec("folder", (height, width, 3), 256, 0, 0, classes, captions=bool(captions.files))
        sides = _split(folder, places, spec, config, report)
        _require_two(places, config, report, refusals)
        twins = Twins()
        splits = {
            split: _items(folder, split, chosen, places, spec, config.size, report, twins)
            for split, chosen in sides.items()
        }
        directory = records.write(scratch, spec, splits)
    report.require_few(config.max_bad, refusals)
    report.notes += twins.notes()
    report.write(directory / REPORT_FILE)
    return directory


def _require_two(places: dict[File, Place], config: DataConfig, report: Report, refusals: Path) -> None:
    """Raise `ConfigError` if too much is refused, or too little is left."""
    report.require_few(config.max_bad, refusals)
    if len(places) < 2:
        raise ConfigError(
            f"data.path is {report.folder}, which holds {len(places)} usable images; at least 2 are needed."
        )


def _read_sizes(folder: Path, files: list[File], report: Report) -> dict[str, tuple[int, int]]:
    """Height and width by name of the files that are images by their headers."""
    sizes: dict[str, tuple[int, int]] = {}
    for file in counted(files, "looking at files", len(files)):
        if not is_text(file.name):
            report.refused[file.name] = "its name is not UTF-8 text"
            continue
        try:
            sizes[file.name] = read_size(folder / file.name)
        except Refused as reason:
            report.refused[file.name] = str(reason)
    return sizes


def _places(files: list[File], sizes: dict[str, tuple[int, int]], layout: Layout, report: Report) -> dict[File, Place]:
    """Split and class of every image, refusing those whose place says nothing while others' does."""
    images = [file for file in files if file.name in sizes]
    places = {file: layout.place(file) for file in images}
    labelled = any(where is not None and where.group is not None for where in places.values())
    usable: dict[File, Place] = {}
    for file, where in places.items():
        if where is None:
            report.refused[file.name] = layout.outside()
        elif labelled and where.group is None:
            report.refused[file.name] = "it lies beside the sub-folders that are the classes, so it has no class"
        else:
            usable[file] = where
    return usable


def _captioned(places: dict[File, Place], captions: Captions, report: Report) -> dict[File, Place]:
    """`places` with captions, refusing images without one while others have theirs."""
    if not captions.files:
        return places
    usable: dict[File, Place] = {}
    for file, where in places.items():
        if file.name in captions.words:
            usable[file] = where._replace(caption=captions.words[file.name])
        else:
            report.refused[file.name] = captions.refused.get(file.name, "it has no caption, while others have one")
    return usable


def _refuse_damaged_sizes(
    folder: Path, places: dict[File, Place], sizes: dict[str, tuple[int, int]], report: Report
) -> None:
    """Take out of `places` sizes of which no file can be read, lest damaged files alone make the sizes differ."""
    groups: dict[tuple[int, int], list[File]] = {}
    for file in places:
        groups.setdefault(sizes[file.name], []).append(file)
    if len(groups) == 1:
        return
    readable = 0
    for files in groups.values():
        for file in files:
            pixels = read(folder / file.name, None)
            if not isinstance(pixels, Refused):
                readable += 1
                break
            report.refused[file.name] = str(pixels)
            del places[file]
        if readable == 2:
            return  # the sizes do differ


def _common_size(folder: Path, sizes: Sequence[tuple[int, int]], size: int | None) -> tuple[int, int]:
    """The height and width of the prepared images."""
    if size is not None:
        return size, size
    counts = Counter(sizes)
    if len(counts) == 1:
        return sizes[0]
    smallest = min(min(pair) for pair in counts)
    suggestion = max([side for side in (16, 32, 64, 128, 256) if side <= smallest], default=16)
    common = ", ".join(f"{height}x{width} ({count})" for (height, width), count in counts.most_common(3))
    raise ConfigError(
        f"data.path is {folder}, whose images differ in size (height x width): {common}"
        f"{', ...' if len(counts) > 3 else ''}. Set data.size, for example data.size={suggestion}, "
        "to cut their centre squares and resize them to it."
    )


def _split(
    folder: Path, places: dict[File, Place], spec: DataSpec, config: DataConfig, report: Report
) -> dict[str, list[File]]:
    """The files of the training and the test split, in order.

    Where the folder does not say, and nothing can be read of what the hash chooses for a split, that is taken out of
    `places` and the hash chooses again; as it depends on each name alone, no other image changes sides.
    """
    given = {split: [file for file, where in places.items() if where.split == split] for split in ("train", "test")}
    if any(given.values()):
        return given

    @functools.cache
    def fault(file: File) -> str:
        pixels = read(folder / file.name, config.size, spec.shape)
        return str(pixels) if isinstance(pixels, Refused) else ""

    while True:
        files = list(places)
        test = held_out([composed(file.name) for file in files], config.test_fraction)
        sides = {
            split: [file for file, held in zip(files, test, strict=True) if held == (split == "test")]
            for split in ("train", "test")
        }
        damaged = [file for side in sides.values() if all(map(fault, side)) for file in side]
        if not damaged:
            return sides
        for file in damaged:
            report.refused[file.name] = fault(file)
            del places[file]


def _items(
    folder: Path,
    split: str,
    files: list[File],
    places: dict[File, Place],
    spec: DataSpec,
    size: int | None,
    report: Report,
    twins: Twins,
) -> Iterator[records.Item]:
    """Yield the images of `files`, those of `split`, with labels and captions; refused ones go into the report."""
    numbers = {name: number for number, name in enumerate(spec.classes)}
    images = read_all(folder, files, size, spec.shape)
    used = 0
    for file, pixels in counted(zip(files, images, strict=True), "reading images", len(files)):
        _, group, caption = places[file]
        if isinstance(pixels, Refused):
            report.refused[file.name] = str(pixels)
        else:
            used += 1
            twins.add(split, pixels)
            yield records.Item(pixels, None if group is None else numbers[group], caption=caption)
    if not used:
        raise report.nothing_left(split)

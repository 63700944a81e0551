"""Where a picture ends in its file: cameras and servers put films, second pictures and zeros behind it."""

from __future__ import annotations

import re

# In a scan 0xff is followed by zero, or by the number of a restart; in front of a marker there may be more of it.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_STARTS, _END = (0x01, 0xD8), 0xD9  # markers without a length
_RIFF_HEADER = 8


def jpeg_is_whole(content: bytes) -> bool:
    """Whether the JPEG at the start of `content` comes to its own end, whatever is behind it.

    Segments are walked by their lengths, so that thumbnails within them do not count.
    """
    marker = _MARKER.match(content)
    while marker is not None and marker[1][0] != _END:
        position = marker.end()
        if marker[1][0] not in _STARTS:
            position += int.from_bytes(content[position : position + 2], "big")
        marker = _MARKER.search(content, position)
    return marker is not None


def riff(content: bytes) -> bytes:
    """The WebP at the start of `content`, without what is behind it."""
    return content[: _RIFF_HEADER + int.from_bytes(content[4:_RIFF_HEADER], "little")]

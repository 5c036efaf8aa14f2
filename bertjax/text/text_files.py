"""Lines of text files: plain, gzip, xz or zstandard, checked byte for byte to be UTF-8."""

import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from bertjax.errors import UserError
from bertjax.text.remote_files import RemoteFile

CorpusFile = Path | RemoteFile
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")
_BUFFER_BYTES = 1 << 20
_HEAD_BYTES = 1 << 18  # longer than any block of zstandard's, which comes out whole
_ZSTD_INPUT_BYTES = 1 << 12  # what is read at once may be a thousand times as long decompressed
_DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def read_lines(
    path: CorpusFile, max_bytes: int, cut_long: bool = True, strip: bool = True
) -> Iterator[str]:
    """Yields a file's lines without surrounding white space ("" for a blank line).

    Args:
        path: the file; its suffix says how it is compressed.
        max_bytes: the longest line held in memory.
        cut_long: whether a longer line is cut in pieces, at white space where there is some.
        strip: False keeps the white space, all but the line's end (`\\n` or `\\r\\n`).

    Raises:
        UserError: the file cannot be read, is damaged, or is not UTF-8 text; the message gives the
            line and the offset of the first bad byte in the decompressed text.
    """
    offset = 0
    try:
        with _open(path) as stream:
            for number, line in _cut_lines(stream, max_bytes, cut_long, path):
                text = _decode(line, offset, path, number)
                text = text.removeprefix("\ufeff") if offset == 0 else text
                yield text.strip() if strip else text.removesuffix("\n").removesuffix("\r")
                offset += len(line)
    except _DAMAGED as error:
        kind = path.suffix.removeprefix(".")
        raise UserError(f"{path}: damaged or not a {kind} file ({error})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def head(path: Path) -> tuple[bytes, int]:
    """The beginning of a file's text, and how many bytes of the file hold it.

    Nothing of a file that cannot be read or is damaged: that is told when it is read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD_BYTES)
        if path.suffix not in COMPRESSED_SUFFIXES:
            return data, len(data)
        decompressor = _decompressor(path.suffix)
        text = decompressor.decompress(data)
    except (*_DAMAGED, OSError):
        return b"", 0
    return text, len(data) - len(decompressor.unused_data)


def _decompressor(suffix: str) -> Any:
    if suffix == ".gz":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    if suffix == ".xz":
        return lzma.LZMADecompressor()
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


@contextlib.contextmanager
def _open(path: CorpusFile) -> Iterator[BinaryIO]:
    with path.open("rb", _BUFFER_BYTES) as file:
        if path.suffix not in COMPRESSED_SUFFIXES:
            yield file
            return
        unpacked = _UNPACKERS[path.suffix](file)
        yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER_BYTES))


class _ZstdReader(io.RawIOBase):
    """The decompressed bytes of a file; the library's own reader takes one cut short for whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = _zstd_pieces(file)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and (piece := next(self._pieces, None)) is not None:
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _zstd_pieces(file: BinaryIO) -> Iterator[bytes]:
    decompressor, frame = zstandard.ZstdDecompressor(max_window_size=1 << 31), None
    data = b""
    while data := data or file.read(_ZSTD_INPUT_BYTES):
        frame = frame or decompressor.decompressobj()
        yield frame.decompress(data)
        data = frame.unused_data if frame.eof else b""
        frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it ends too early")


_UNPACKERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": _ZstdReader,
}


def _cut_lines(
    stream: BinaryIO, max_bytes: int, cut_long: bool, path: CorpusFile
) -> Iterator[tuple[int, bytes]]:
    """Each piece with the number of its line, from 1."""
    number, rest = 1, b""
    while piece := stream.readline(max_bytes - len(rest)):
        piece = rest + piece
        rest = b""
        if len(piece) >= max_bytes and not piece.endswith(b"\n"):
            if not cut_long:
                raise UserError(f"{path}: line {number} is longer than {max_bytes >> 20} MiB")
            end = _cut_position(piece)
            piece, rest = piece[:end], piece[end:]
        yield number, piece
        number += piece.endswith(b"\n")
    if rest:
        yield number, rest


def cut_line(line: str, max_bytes: int) -> Iterator[str]:
    """A line in pieces of at most so many bytes, as `read_lines` cuts one of a file."""
    if 4 * len(line) <= max_bytes:  # UTF-8 has at most 4 bytes for a character
        yield line
        return
    for _, piece in _cut_lines(io.BytesIO(line.encode()), max_bytes, True, Path()):
        yield piece.decode()


def _cut_position(piece: bytes) -> int:
    """Where to cut a line that is too long: after a space, else between two characters."""
    space = piece.rfind(b" ", len(piece) // 2)
    if space >= 0:
        return space + 1
    for end in range(len(piece) - 1, len(piece) - 5, -1):
        if piece[end] & 0xC0 != 0x80:  # the first byte of a character
            return end
    return len(piece)


def _decode(line: bytes, offset: int, path: CorpusFile, number: int) -> str:
    zero = line.find(b"\0")
    try:
        if zero < 0:
            return line.decode("utf-8")
        line[:zero].decode("utf-8")
        where, what = zero, "a binary file (zero byte"
    except UnicodeDecodeError as error:
        where, what = error.start, f"not UTF-8 text (bad byte 0x{line[error.start]:02x}"
    raise UserError(
        f"{path}: line {number}: {what} at offset {offset + where}); convert it to UTF-8 text"
    )

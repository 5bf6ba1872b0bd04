"""R's lazy-load databases (.rdb): records of a big-endian length, then that object in R's serialization format, compressed with zlib."""
import struct
import zlib
from typing import Iterator

_CHARACTER_VECTOR = 16  # STRSXP
_NA = 0xFFFFFFFF        # length of a missing string


def records(database: bytes) -> Iterator[bytes]:
    """The uncompressed records in file order. Raises ValueError where the file is cut or the lengths disagree."""
    position = 0
    while position < len(database):
        if position + 4 > len(database):
            raise ValueError(f"record at byte {position}: cut off")
        (length,) = struct.unpack_from(">I", database, position)
        decompressor = zlib.decompressobj()
        try:
            record = decompressor.decompress(database[position + 4:])
        except zlib.error as error:
            raise ValueError(f"record at byte {position}: {error}") from None
        if not decompressor.eof or len(record) != length:
            raise ValueError(f"record at byte {position}: {len(record)} bytes, expected {length}")
        yield record
        position = len(database) - len(decompressor.unused_data)


def strings(record: bytes) -> list[str]:
    """A serialized character vector (XDR, format version 2 or 3)."""
    if record[:2] != b"X\n":
        raise ValueError("not R's XDR serialization")
    (version,) = struct.unpack_from(">I", record, 2)
    position = 14
    if version == 3:  # the native encoding's name follows the three version numbers
        (length,) = struct.unpack_from(">I", record, position)
        position += 4 + length
    kind, count = struct.unpack_from(">II", record, position)
    if kind & 0xFF != _CHARACTER_VECTOR:
        raise ValueError(f"R object of type {kind & 0xFF}, expected a character vector ({_CHARACTER_VECTOR})")
    position += 8
    result = []
    for _ in range(count):
        (length,) = struct.unpack_from(">I", record, position + 4)
        size = 0 if length == _NA else length
        result.append(record[position + 8:position + 8 + size].decode("utf-8"))
        position += 8 + size
    return result

"""Readings as a Parquet file, made block by block out of what COPY gives. Needs pyarrow: the extra `export`."""

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pyarrow as pa
from pyarrow import csv, parquet

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us", "UTC")),
        pa.field("topic", pa.dictionary(pa.int32(), pa.string())),
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("quality", pa.dictionary(pa.int32(), pa.string())),
        pa.field("unit", pa.dictionary(pa.int32(), pa.string())),
    ]
)
_READ = csv.ReadOptions(column_names=SCHEMA.names)
_CONVERT = csv.ConvertOptions(
    column_types=SCHEMA,
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
    timestamp_parsers=[csv.ISO8601],
)
_PARSE = csv.ParseOptions(newlines_in_values=True)
_GROUP_BYTES = 4_194_304  # of CSV, in a row group


async def made(blocks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The file, out of whole lines of CSV with the schema's columns."""
    file = _File()
    lines: list[bytes] = []
    async with aclosing(blocks):
        async for block in blocks:
            lines.append(block)
            if sum(map(len, lines)) >= _GROUP_BYTES:
                yield await asyncio.to_thread(file.group, b"".join(lines))
                lines = []
    yield await asyncio.to_thread(file.end, b"".join(lines))


class _File:
    """What is written is taken away at once."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(self._sink, SCHEMA, compression="zstd")

    def group(self, lines: bytes) -> bytes:
        table = csv.read_csv(io.BytesIO(lines), _READ, _PARSE, _CONVERT)
        self._writer.write_table(table)
        return self._sink.taken()

    def end(self, lines: bytes) -> bytes:
        rest = self.group(lines) if lines else b""
        self._writer.close()
        return rest + self._sink.taken()


class _Sink(io.RawIOBase):
    """Knows how much was written to it, and holds what was not taken yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)

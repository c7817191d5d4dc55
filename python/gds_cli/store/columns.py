"""Samples as columns: Parquet, where pyarrow is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_cli.store.exposition import LineError, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Series = tuple[dict[str, str], list[tuple[float, float]]]

__all__ = ["read_table", "write_table"]

TIME, VALUE, NAME = "timestamp", "value", "__name__"
AT_ONCE = 65_536


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError:
        raise OSError("expected pyarrow for Parquet; run: pip install pyarrow") from None
    return pa, parquet


def write_table(path: Path, labels: list[str], series: Iterable[Series]) -> int:
    """Write a file with a row for each sample and a column for each label, that of the metric ``__name__``.

    Args:
        path: The file.
        labels: All labels that there are.
        series: Labels of each, and pairs of seconds since 1970 and a number.

    Returns:
        How many samples.

    Raises:
        KeyError: A series has a label that is not among them.
    """
    pyarrow, parquet = _pyarrow()
    clash = {TIME, VALUE} & {*labels}
    if clash:
        raise LineError(
            f"the label {' and '.join(sorted(clash))} would be a column of samples; use --format openmetrics"
        )
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    fields = [(TIME, pyarrow.timestamp("ms", "UTC")), *((name, text) for name in labels), (VALUE, pyarrow.float64())]
    schema = pyarrow.schema(fields)
    count = 0
    with parquet.ParquetWriter(path, schema) as out:
        for found, samples in series:
            if not found.keys() <= {*labels}:
                raise KeyError(*sorted(found.keys() - {*labels}))
            size = len(samples)
            count += size
            columns = [pyarrow.array([round(at * 1000) for at, _ in samples], fields[0][1])]
            columns += [
                pyarrow.DictionaryArray.from_arrays(
                    pyarrow.array([0 if name in found else None] * size, pyarrow.int32()),
                    pyarrow.array([found.get(name, "")], pyarrow.string()),
                )
                for name in labels
            ]
            columns.append(pyarrow.array([value for _, value in samples], pyarrow.float64()))
            out.write_table(pyarrow.table(columns, schema=schema))
    return count


def read_table(path: Path) -> Iterator[Sample]:
    """The samples of a file: ``timestamp``, ``value``, ``__name__``, and a column of text for each label.

    Raises:
        LineError: A column is missing, or a row has no name or value.
    """
    _, parquet = _pyarrow()
    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    missing = [name for name in (TIME, VALUE, NAME) if name not in names]
    if missing:
        raise LineError(f"expected the columns {TIME}, {VALUE} and {NAME}, there is no {', '.join(missing)}")
    number = 0
    for batch in file.iter_batches(AT_ONCE):
        for row in batch.to_pylist():
            number += 1
            moment, value, name = row.pop(TIME), row.pop(VALUE), row.pop(NAME)
            if name is None or value is None:
                raise LineError(f"row {number}: expected a {NAME} and a {VALUE}")
            at = moment.timestamp() if hasattr(moment, "timestamp") else moment
            yield Sample(name, {label: str(text) for label, text in row.items() if text is not None}, float(value), at)

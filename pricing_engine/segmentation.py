"""What segments are formed from: prices may differ only between segments whose attributes a price book states.

An attribute that must not set prices forms none, nor does one that is known to stand for it; a segment that the book
does not state is priced as `default`, like everybody else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.ids import check_key

DEFAULT_SEGMENT = "default"

PROTECTED = frozenset({
    "age", "belief", "birth_date", "colour", "date_of_birth", "disability", "ethnic_origin", "ethnicity", "gender",
    "genetic_features", "language", "marital_status", "national_minority", "nationality", "political_opinion",
    "pregnancy", "race", "religion", "sex", "sexual_orientation", "social_origin", "year_of_birth",
})  # fmt: skip
"""Attributes that never form a segment: those of Article 21 of the Charter of Fundamental Rights, and near ones."""


class ForbiddenAttributeError(RuleBrokenError):
    """A segment would be formed from an attribute that must not set prices, or from one that stands for it."""

    code = "forbidden_attribute"


class Segmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The segments whose prices may differ, and what must form none.

    `formed_from`: segment -> the attributes it is formed from. `forbidden`: attributes besides `PROTECTED`. `proxies`:
    attribute -> the forbidden one it stands for, as the company knows or `alacarte demand fit --attributes` found.
    """

    formed_from: dict[str, tuple[str, ...]] = {}
    forbidden: tuple[str, ...] = ()
    proxies: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse malformed names, a segment formed from nothing, and with ForbiddenAttributeError what is forbidden."""
        for attribute in (*self.forbidden, *self.proxies, *self.proxies.values(), *self.attributes):
            check_key(attribute, "segmentation")
        for segment, attributes in self.formed_from.items():
            where = f"segmentation.formed_from.{segment}"
            check_key(segment, where)
            if segment == DEFAULT_SEGMENT:
                raise InvalidValueError("is for everybody else and formed from nothing", field=where, value=segment)
            if not attributes:
                raise InvalidValueError("needs an attribute", field=where, value=attributes)
            check_segment_attributes(attributes, self.protected, self.proxies, where)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Every attribute that forms a segment, sorted."""
        return tuple(sorted({each for attributes in self.formed_from.values() for each in attributes}))

    @property
    def protected(self) -> frozenset[str]:
        """The attributes that must not set prices."""
        return PROTECTED | {_name(each) for each in self.forbidden}

    def priced_as(self, segment: str) -> str:
        """Return the segment whose prices a customer of `segment` gets: its own where that is stated."""
        return segment if segment in self.formed_from else DEFAULT_SEGMENT


def check_segment_attributes(
    attributes: Iterable[str], protected: Collection[str], proxies: Mapping[str, str], field: str
) -> None:
    """Raise ForbiddenAttributeError for the first attribute that is protected or a known proxy."""
    known = {_name(each): stands_for for each, stands_for in proxies.items()}
    for attribute in attributes:
        if _name(attribute) in protected:
            raise ForbiddenAttributeError("must not set prices", field=field, value=attribute)
        if _name(attribute) in known:
            raise ForbiddenAttributeError(
                f"stands for {known[_name(attribute)]} and must not set prices", field=field, value=attribute
            )


def _name(attribute: str) -> str:
    """Return an attribute's name however its words are joined."""
    return attribute.replace("-", "_").replace(".", "_")

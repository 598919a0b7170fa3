"""Every number of the configuration has a range; what lies outside is named with its value and what would be right."""

import dataclasses
import math
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clusterfolio.engine.config.ranges import INTERVAL, RANGES
from clusterfolio.engine.config.run import RunConfig, make_config, to_dict
from clusterfolio.models.encoder import ENCODERS, encoder_class


def kinds(hint) -> set[type]:
    """The types that a field may have."""
    return {kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type)}


def numbers() -> dict[tuple[str, str, str], set[type]]:
    """Every number of the configuration: encoder, section and key, and whether it may be whole or not."""
    classes = [
        ("transformer", item.name, type(getattr(RunConfig(), item.name))) for item in dataclasses.fields(RunConfig)
    ]
    classes += [(name, "model", encoder_class(name).config_class) for name in ENCODERS]
    found = {}
    for encoder, section, cls in classes:
        hints = typing.get_type_hints(cls)
        for item in dataclasses.fields(cls):
            allowed = kinds(hints[item.name]) & {int, float}
            if allowed and bool not in kinds(hints[item.name]):
                found[encoder, section, item.name] = allowed
    return found


NUMBERS = numbers()


def configured(encoder: str, section: str, key: str, value) -> dict:
    settings = {"encoder": {"name": encoder}}
    settings.setdefault(section, {})[key] = value
    if section == "agent":
        settings["policy"] = {"name": "ppo"}  # which reads it
    return to_dict(make_config(settings))[section]


def ends(section: str, key: str) -> tuple[bool, float, float, bool]:
    opens, low, high, closes = INTERVAL.fullmatch(RANGES[section][key]).groups()
    return opens == "[", float(low), float(high), closes == "]"


def test_every_number_has_a_range_and_every_range_a_number():
    stated = {(section, key) for section, keys in RANGES.items() for key in keys}
    assert {(section, key) for _, section, key in NUMBERS} == stated


@pytest.mark.parametrize("field", NUMBERS, ids=".".join)
def test_what_is_no_number_and_what_is_far_out_is_refused_by_name_and_value(field):
    _, section, key = field
    whole = NUMBERS[field] == {int}
    low_in, low, high, high_in = ends(section, key)
    wrong = [True, math.nan, math.inf, -math.inf, -(10**9), 10**400 if whole else 1e308]
    wrong += [] if low_in else [low]
    wrong += [] if high_in else [high]
    wrong += [1.5] if whole else []
    for value in wrong:
        with pytest.raises(ValueError, match="expected") as found:
            configured(*field, value)
        said = str(found.value)
        assert f"{section}.{key}: got {value!r}" in said, said


@given(data=st.data())
def test_a_number_is_taken_as_it_is_or_refused_with_its_name(data):
    field = data.draw(st.sampled_from(sorted(NUMBERS)))
    encoder, section, key = field
    whole = float not in NUMBERS[field]
    value = data.draw(st.integers(-(2**70), 2**70) | st.integers(-3, 40) if whole else st.floats())
    low_in, low, high, high_in = ends(section, key)
    inside = (value >= low if low_in else value > low) and (value <= high if high_in else value < high)
    try:
        assert configured(encoder, section, key, value)[key] == value and inside
    except ValueError as error:
        assert key in str(error) and (
            not inside or "must" in str(error) or "expected" in str(error) or "need" in str(error)
        )
        if not inside:
            assert f"{section}.{key}: got {value!r}, expected" in str(error)


def test_the_key_that_is_wrong_is_blamed():
    with pytest.raises(ValueError, match=r"simulated\.n_assets: got -5, expected a whole number from 1 to 100,000"):
        make_config({"simulated": {"n_assets": -5}})


@dataclasses.dataclass(frozen=True)
class Own:
    """An encoder's keys, as a user writes them."""

    width: float = 1.0


class Net(nn.Module):
    config_class = Own

    def encode(self, batch): ...

    def loss(self, batch): ...


def test_numbers_of_a_users_own_encoder_must_be_finite():
    with pytest.raises(ValueError, match=r"model\.width: got nan, expected a finite number"):
        make_config({"encoder": {"name": f"{__name__}:Net"}, "model": {"width": math.nan}})
    assert make_config({"encoder": {"name": f"{__name__}:Net"}, "model": {"width": -1e9}}).model.width == -1e9

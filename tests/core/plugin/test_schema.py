"""Schemas from signatures of components."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt
from pydantic import ValidationError

from enface import DataInfo, Loss, Schedulable
from enface.plugin.schema import ScheduleSpec, closest, explain, parameter_help, params_model, wants_data_info


class Sample(Loss):
    """A loss.

    Args:
        scale: Reach of the loss,
            over two lines: with a colon.
        kind (str): Either kind.
        strength: Factor of the loss.

    Raises:
        RecipeError: never: this is no parameter.
    """

    def __init__(
        self,
        *,
        scale: Annotated[float, Gt(0)],
        kind: Literal["a", "b"] = "a",
        strength: Annotated[Schedulable, Ge(0)] = 1.0,
        data: DataInfo,
    ) -> None:
        super().__init__()


def error_message(params: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        params_model(Sample).model_validate(params)
    path, message = explain(caught.value.errors()[0], params_model(Sample).model_fields)
    return f"{'.'.join(map(str, path))}: {message}"


def test_arguments_filled_in_by_the_core_are_no_parameters():
    assert list(params_model(Sample).model_fields) == ["scale", "kind", "strength"]
    assert wants_data_info(Sample) == "data"
    assert wants_data_info(Loss) is None


def test_help_is_read_from_the_docstring():
    assert parameter_help(Sample) == {
        "scale": "Reach of the loss, over two lines: with a colon.",
        "kind": "Either kind.",
        "strength": "Factor of the loss.",
    }
    schema = params_model(Sample).model_json_schema()
    assert schema["properties"]["scale"]["description"].startswith("Reach of")
    assert schema["required"] == ["scale"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scale": 1, "scael": 1}, "scael: unknown key 'scael'; did you mean 'scale'?"),
        ({}, "scale: is required and missing"),
        ({"scale": 0}, "scale: input should be greater than 0 (given: 0)"),
        ({"scale": "wide"}, "scale: input should be a valid number"),
        ({"scale": 1, "kind": "c"}, "kind: input should be 'a' or 'b' (given: 'c')"),
        ({"scale": 1, "strength": -1}, "strength: input should be greater than or equal to 0"),
    ],
)
def test_messages_name_key_value_and_remedy(params, message):
    assert error_message(params).startswith(message)


def test_a_schedulable_number_may_be_a_schedule():
    params = params_model(Sample).model_validate({"scale": 1, "strength": {"use": "linear", "start": -1}})
    assert isinstance(params.strength, ScheduleSpec)
    assert params.strength.model_extra == {"start": -1}


@pytest.mark.parametrize(
    "init", ["def __init__(self, scale: float) -> None: ...", "def __init__(self, *, scale=1): ..."]
)
def test_positional_and_untyped_parameters_are_rejected(init):
    namespace: dict[str, type] = {"Loss": Loss}
    exec(f"class Bad(Loss):\n    {init}", namespace)
    with pytest.raises(TypeError, match="'scale' must be keyword-only and annotated"):
        params_model(namespace["Bad"])


def test_a_suggestion_is_the_nearest_name_or_the_list():
    assert closest("encoderr", ["encoder", "decoder"]) == "; did you mean 'encoder'?"
    assert closest("zzz", ["b", "a", "b"]) == "; known: a, b"
    assert closest("zzz", []) == ""

"""Reading a request into its model, and saying in plain words what is wrong with it."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from features.brief_fields import shown
from features.errors import DataError

Request = TypeVar("Request", bound=BaseModel)

_EXAMPLE = '{"goal": "awareness", "budget": 5000}'
_SHOWN_PROBLEMS = 5
# Fields of another request: where they belong.
_OTHER_REQUESTS = {"plan": "POST /v1/plan and the command plan"}


def read(model: type[Request], payload: Mapping[str, Any]) -> Request:
    """Check a request's fields, as read from JSON, and put them into their normal form.

    Raises:
        DataError: what is wrong with the first field that is, and how many more there are; `field` is its path.
    """
    if not isinstance(payload, Mapping):
        raise DataError(f"a brief is a JSON object such as {_EXAMPLE}, not {_kind(payload)}")
    try:
        return model.model_validate(dict(payload))
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # An unknown name usually explains why another one is missing.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    field = _path(problems[0])
    others = list(dict.fromkeys(_path(problem) for problem in problems[1:]))
    message = f"{field}: {_explain(model, problems[0])}"
    if others:
        names = ", ".join(others[:_SHOWN_PROBLEMS]) + (", ..." if len(others) > _SHOWN_PROBLEMS else "")
        message += f" ({len(others)} more problem{'s' if len(others) > 1 else ''}: {names})"
    raise DataError(message, field=field)


def read_json(model: type[Request], text: str | bytes) -> Request:
    """`read` for JSON text.

    Raises:
        DataError: the text is empty or not JSON (NaN and Infinity are not), or the request is refused.
    """
    if not text.strip():
        raise DataError(f"the body is empty; send a brief as JSON, such as {_EXAMPLE}")
    try:
        payload = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise DataError(
            f"the brief is not valid JSON: {error}. Names and texts need double quotes; NaN and Infinity are not JSON"
        ) from None
    return read(model, payload)


def problem_of(field: str, message: str) -> PydanticCustomError:
    """A problem found where fields are compared, to be reported of `field`, a path from the top of the request."""
    return PydanticCustomError("value_error", "{error}", {"error": message, "field": field})


def _path(problem: ErrorDetails) -> str:
    named = problem.get("ctx", {}).get("field")
    return named or ".".join(str(part) for part in problem["loc"] if part != "[key]")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


# Pydantic's name for what is wrong -> the same in plain words.
_PLAIN = {
    "missing": "is required",
    "value_error": "{error}",
    "literal_error": "must be one of {expected}, not {given}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "finite_number": "must be a finite number, not {given}",
    "greater_than": "must be above {gt:g}, not {given}",
    "greater_than_equal": "must be at least {ge:g}, not {given}",
    "less_than": "must be below {lt:g}, not {given}",
    "less_than_equal": "must be at most {le:g}, not {given}",
    "float_type": "must be a number, not {given}",
    "int_type": "must be a whole number, not {given}",
    "int_from_float": "must be a whole number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "string_type": "must be a text, not {given}",
    "tuple_type": "must be a list, not {given}",
    "model_type": "must be an object, not {given}",
    "dict_type": "must be an object, not {given}",
}


def _explain(model: type[BaseModel], problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        *parents, name = (str(part) for part in problem["loc"])
        return _unknown_field(model, parents, name)
    words = {**problem.get("ctx", {}), "given": shown(problem["input"]), "msg": problem["msg"]}
    return _PLAIN.get(problem["type"], "{msg}, not {given}").format_map(words)


def _unknown_field(model: type[BaseModel], parents: list[str], name: str) -> str:
    if parents and name in _names(model):
        return f"there is no such field here; it belongs beside {parents[0]}"
    for place, part in _parts(model):
        if place != ".".join(parents) and name in _names(part):
            return f"there is no such field here; it belongs inside {place}"
    if not parents and name in _OTHER_REQUESTS:
        return f"there is no such field here; it belongs to {_OTHER_REQUESTS[name]}"
    known = _names(_part_at(model, parents))
    close = difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f"there is no such field; did you mean {'.'.join([*parents, close[0]])}?"
    return f"there is no such field; the fields are {', '.join(known)}"


def _parts(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The fields of a model that are objects with fields of their own."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


def _part_at(model: type[BaseModel], parents: list[str]) -> type[BaseModel]:
    """The model of the object at a path; keys of a dictionary and places in a list lead to what it holds."""
    for name in parents:
        if name in model.model_fields:
            model = _held(model.model_fields[name].annotation) or model
    return model


def _held(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _held(inner))), None)


def _names(model: type[BaseModel]) -> list[str]:
    """Names of a model's fields as they are written in JSON."""
    return [field.alias or name for name, field in model.model_fields.items()]

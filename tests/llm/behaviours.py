"""How endpoints behave, and what happens then: the table of docs/howto/endpoints.md, each row a test.

``python tests/llm/behaviours.py`` prints the table. A row is asked 12 questions (or ``n``), of which each answer costs
one dollar, and may cost two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from endpoint import refused, said


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of an endpoint, and what it has to lead to.

    ``sent`` requests, ``billed`` dollars, ``used`` answers, and the words that the user ``reads``.
    """

    what: str
    answer: Callable[[dict[str, Any], int], Any]
    sent: int
    billed: float
    used: int
    reads: str = ""
    n: int = 12
    fails: bool = False
    chat: dict[str, Any] = field(default_factory=dict)
    llm: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> str:
        """The row of the table."""
        cells = self.what, self.n, self.sent, f"{self.billed:.2f}", self.used, f"`{self.reads}`" if self.reads else ""
        return f"| {' | '.join(map(str, cells))} |"


def unless(is_right: Callable[[dict], bool], error: tuple[int, Any]) -> Callable[[dict, int], Any]:
    """An endpoint that answers what is right and refuses all else."""
    return lambda body, n: said() if is_right(body) else error


def first(outcome: Any) -> Callable[[dict, int], Any]:
    """An endpoint of which each question's first attempt fails."""
    return lambda body, n: outcome if n == 0 else said()


def about(number: int, outcome: Any) -> Callable[[dict, int], Any]:
    """An endpoint that answers one question in its own way."""
    return lambda body, n: outcome if f"Question {number}\n" in body["messages"][0]["content"] else said()


def _both(body: dict, n: int) -> Any:
    if "max_tokens" in body:
        return refused(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    return (
        said()
        if "temperature" not in body
        else refused("Unsupported value: 'temperature' does not support 0 with this model.", param="temperature")
    )


TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
USAGE = {"prompt_tokens": 50, "completion_tokens": 100}
BEHAVIOURS = [
    Behaviour("answers as it should", lambda body, n: said(), 12, 12, 12),
    Behaviour(
        "knows `max_completion_tokens` only, and no temperature but its own",
        _both,
        14,
        12,
        12,
        "max_tokens is sent as max_completion_tokens",
    ),
    Behaviour(
        "takes no `temperature`",
        unless(lambda body: "temperature" not in body, refused("temperature is deprecated for this model.")),
        13,
        12,
        12,
        "temperature is left out from now on",
    ),
    Behaviour(
        "takes no `seed` (a validation error of FastAPI)",
        unless(
            lambda body: "seed" not in body,
            (
                422,
                {
                    "detail": [
                        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
                    ]
                },
            ),
        ),
        13,
        12,
        12,
        "seed is left out from now on",
        llm={"temperature": 0.7},
    ),
    Behaviour(
        "takes no `response_format`",
        unless(
            lambda body: "response_format" not in body,
            refused("This response_format type is unavailable now"),
        ),
        13,
        12,
        12,
        "response_format is left out from now on",
    ),
    Behaviour(
        "takes no `minItems` in a schema",
        unless(
            lambda body: "minItems" not in json.dumps(body),
            refused(
                "Invalid schema for response_format 'answer': 'minItems' is not permitted.", param="response_format"
            ),
        ),
        13,
        12,
        12,
        "the schema is sent without maxItems and minItems",
    ),
    Behaviour(
        "answers in parts",
        lambda body, n: said(
            [{"type": "text", "text": "<Answer> [GATA1, "}, {"type": "text", "text": "SPI1] </Answer>"}]
        ),
        12,
        12,
        12,
    ),
    Behaviour(
        "answers in `reasoning_content` only",
        lambda body, n: said(None, reasoning_content="So: <Answer> [GATA1, SPI1] </Answer>"),
        12,
        12,
        12,
    ),
    Behaviour(
        "spends `max_tokens` on hidden reasoning",
        lambda body, n: said("", "length", {"prompt_tokens": 50, "completion_tokens": 200}),
        3,
        6,
        0,
        "llm.max_tokens=200: the last 3 answers were cut off there",
        fails=True,
    ),
    Behaviour(
        "never answers in a form that can be read",
        lambda body, n: said("I do not know."),
        3,
        3,
        0,
        "the first 3 questions gave no answer that can be used",
        fails=True,
        llm={"max_repairs": 0},
    ),
    Behaviour(
        "gives half an answer first", first((200, '{"choices": [')), 24, 36, 12, "at most $24.0000 of it for attempts"
    ),
    Behaviour(
        "gives no choice first, with its usage",
        first({"choices": [], "usage": USAGE}),
        24,
        24,
        12,
        "at most $12.0000 of it for attempts",
    ),
    Behaviour("hangs up first, after the question", first("drop"), 24, 36, 12, "at most $24.0000 of it for attempts"),
    Behaviour(
        "takes too long first",
        first("hang"),
        8,
        12,
        4,
        "from now on at most 2 requests at once",
        n=4,
        chat={"timeout": 1.0},
    ),
    Behaviour("limits the rate first (429)", first((429, {"error": {"message": "slow down"}})), 24, 12, 12),
    Behaviour("is overloaded first (503)", first((503, "Overloaded")), 24, 12, 12),
    Behaviour("is overloaded first, in a 200", first({"error": {"message": "Overloaded", "code": 503}}), 24, 12, 12),
    Behaviour(
        "refuses the key (401)",
        lambda body, n: refused("no", 401),
        1,
        0,
        0,
        "the server refuses no key (401)",
        fails=True,
    ),
    Behaviour(
        "refuses the key, in a 200",
        lambda body, n: {"error": {"message": "User not found.", "code": 401}},
        1,
        0,
        0,
        "the server refuses no key (401)",
        fails=True,
    ),
    Behaviour(
        "has no credit left, in a 200",
        lambda body, n: {"error": {"message": "Insufficient credits", "code": 402}},
        1,
        0,
        0,
        "the account has no credit or quota left (402)",
        fails=True,
    ),
    Behaviour(
        "gives errors in a list",
        lambda body, n: (
            400,
            [{"error": {"code": 400, "message": "Model is not ready.", "status": "FAILED_PRECONDITION"}}],
        ),
        1,
        0,
        0,
        "Error code: 400 - Model is not ready.",
        fails=True,
    ),
    Behaviour(
        "gives errors as `detail`",
        lambda body, n: (400, {"detail": "No LoRA here"}),
        1,
        0,
        0,
        "Error code: 400 - No LoRA here",
        fails=True,
    ),
    Behaviour(
        "gives errors as text", lambda body, n: (400, "Bad thing"), 1, 0, 0, "Error code: 400 - Bad thing", fails=True
    ),
    Behaviour(
        "has too short a context",
        lambda body, n: refused(TOO_LONG, code="context_length_exceeded"),
        1,
        0,
        0,
        "offer fewer TFs (dataset.preprocessing.n_tfs), ask about fewer targets at once",
        fails=True,
    ),
    Behaviour(
        "filters the content of one question",
        about(
            7,
            refused(
                "The response was filtered due to the prompt triggering content management policy.",
                code="content_filter",
            ),
        ),
        12,
        11,
        11,
        "1 questions were declined for their content, for instance about 7",
    ),
    Behaviour(
        "filters the content of the first question",
        about(0, refused("flagged", code="content_filter")),
        12,
        11,
        11,
        "1 questions were declined for their content",
    ),
    Behaviour(
        "refuses one question by a refusal",
        about(7, said(None, refusal="I cannot help with that.")),
        12,
        12,
        11,
        "1 questions were declined for their content, for instance about 7",
    ),
    Behaviour("states its cost", lambda body, n: said(usage={**USAGE, "cost": 0.25}), 12, 3, 12),
    Behaviour(
        "counts hidden reasoning in the total only",
        lambda body, n: said(usage={**USAGE, "total_tokens": 200}),
        12,
        18,
        12,
    ),
    Behaviour(
        "reads most of the prompt from its cache",
        lambda body, n: said(usage={**USAGE, "prompt_tokens": 500, "prompt_tokens_details": {"cached_tokens": 400}}),
        12,
        18,
        12,
        chat={"price_prompt": 4000, "price_cached": 250},
    ),
    Behaviour(
        "costs more than `max_cost`",
        lambda body, n: said(),
        4,
        4,
        0,
        "llm.max_cost=5.5: $4.0000 is spent",
        fails=True,
        llm={"max_cost": 5.5},
    ),
    Behaviour(
        "takes too long, with a `max_cost`",
        lambda body, n: "drop",
        2,
        4,
        0,
        "llm.max_cost=5.5: $4.0000 is spent ($4.0000 of it, at most, for attempts without an answer)",
        fails=True,
        llm={"max_cost": 5.5},
    ),
    Behaviour(
        "has no prices, with a `max_cost`",
        lambda body, n: said(),
        12,
        0,
        12,
        "llm.max_cost=5.5 limits nothing",
        llm={"max_cost": 5.5},
        chat={"price_completion": 0},
    ),
    Behaviour(
        "sends on to another address (307)",
        lambda body, n: (307, "", {"Location": "https://other.example.org/v1/chat/completions"}),
        1,
        0,
        0,
        "the server sends on to https://other.example.org (307), where the key is not sent; set llm.base_url",
        fails=True,
    ),
    Behaviour(
        "states tokens as text",
        lambda body, n: said(usage={"prompt_tokens": "50", "completion_tokens": "100"}),
        12,
        12,
        12,
    ),
    Behaviour(
        "states tokens by the names of Anthropic",
        lambda body, n: said(usage={"input_tokens": 50, "output_tokens": 100.0}),
        12,
        12,
        12,
    ),
    Behaviour("begins with a byte-order mark", lambda body, n: (200, "\ufeff" + json.dumps(said())), 12, 12, 12),
    Behaviour(
        "streams, although nobody asked it to",
        lambda body, n: (200, f"data: {json.dumps(said())}\n\ndata: [DONE]\n\n"),
        12,
        12,
        12,
    ),
    Behaviour(
        "fails at one question (500)",
        about(5, (500, {"error": {"message": "internal error"}})),
        15,
        11,
        11,
        "no answer about 5",
    ),
    Behaviour("does not accept one question (400)", about(5, refused("bad request")), 12, 11, 11, "no answer about 5"),
    Behaviour(
        "bills more than its prices say, with `llm.max_cost=12`",
        lambda body, n: said(usage={**USAGE, "cost": 5.0}),
        2,
        10,
        0,
        "llm.max_cost=12: $10.0000 is spent",
        fails=True,
        llm={"max_cost": 12},
    ),
    Behaviour(
        "bills a question that it declines",
        about(
            4,
            {"choices": [{"error": {"code": 403, "message": "flagged by moderation"}}], "usage": {**USAGE, "cost": 1}},
        ),
        12,
        12,
        11,
        "1 questions were declined for their content",
    ),
    Behaviour(
        "cuts answers off by another name (`MAX_TOKENS`)",
        lambda body, n: said("", "MAX_TOKENS", {"prompt_tokens": 50, "completion_tokens": 200}),
        3,
        6,
        0,
        "llm.max_tokens=200: the last 3 answers were cut off there",
        fails=True,
    ),
    Behaviour(
        "refuses a value, and not the parameter",
        lambda body, n: refused("temperature: Input should be less than or equal to 1"),
        1,
        0,
        0,
        "the server does not accept the question",
        fails=True,
        llm={"temperature": 1.5},
    ),
    Behaviour(
        "asks to wait in its words only (429)",
        first((429, {"error": {"message": "Rate limit reached. Please try again in 20ms."}})),
        24,
        12,
        12,
    ),
    Behaviour(
        "answers with a web page",
        lambda body, n: (200, "<html><title>Sign in</title></html>"),
        4,
        8,
        0,
        "check llm.base_url, which often ends in /v1, and the proxy",
        fails=True,
    ),
    Behaviour(
        "calls a wrong key a bad request (400)",
        lambda body, n: refused("API key not valid. Please pass a valid API key."),
        1,
        0,
        0,
        "the server refuses no key (401)",
        fails=True,
    ),
    Behaviour(
        "wants the limit by its other name, in other words",
        unless(
            lambda body: "max_tokens" not in body,
            refused("max_tokens must not be set for this model; use max_completion_tokens"),
        ),
        13,
        12,
        12,
        "max_tokens is sent as max_completion_tokens",
    ),
]
HEADING = """| the endpoint ... | questions | requests sent | US dollars billed | answers used | what the user reads |
| --- | ---: | ---: | ---: | ---: | --- |"""


def table() -> str:
    """The table of the documentation."""
    return "\n".join([HEADING, *(behaviour.row for behaviour in BEHAVIOURS)])


if __name__ == "__main__":
    print(table())

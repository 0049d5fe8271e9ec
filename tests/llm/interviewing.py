"""Questions, and a model to ask them of, for the tests of interviews."""

import json

from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.answers_cache.jsonl import write_jsonl
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.parsing.answers import parse_answer
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.questions import Question

GENES = ("GATA1", "SPI1", "PAX5", "CD3D", "ACTB")


def model(server, path=None, *, chat=None, prompts=None, **options):
    options = {"max_tokens": 10, "cache": path and str(path), **options}
    chat = OpenAIChat(server.url, **{"api_key_env": None, "timeout": 10, "backoff": 0.01, **(chat or {})})
    return LanguageModel("tester", "test-model", chat, prompts or Prompts.load("zero_shot"), **options)


def read(text):
    return {"": parse_answer(text, GENES)}


def question(i=0, complaint=lambda answers: None, **options):
    messages = [{"role": "user", "content": f"Question {i}\nGenes: {', '.join(GENES)}"}]
    return Question(**{"subject": str(i), "messages": messages, "read": read, "complaint": complaint, **options})


def dictated(first, *later):
    """A question to a server that repeats what it is told: each complaint dictates the next answer."""
    reasons = iter([*(f"I want to read <Answer> {answer} </Answer> here" for answer in later), None])
    message = {"role": "user", "content": f"<Answer> {first} </Answer>"}
    return question(messages=[message], complaint=lambda answers: next(reasons))


def symbols(interview):
    return interview.answers[""].symbols


def asked(path):
    """Requests and replies in the file, sorted by what was asked."""
    with AnswerCache(path) as cache:
        export = path.with_suffix(".jsonl")
        write_jsonl(export, cache.records())
    return [json.loads(line) for line in export.read_text().splitlines()]

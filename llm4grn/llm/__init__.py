"""Language models: prompts, requests, parsing of answers, and a cache so that no answer is lost or paid for twice."""

from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.parsing.answers_by_target import parse_answers

__all__ = ["Answer", "parse_answer", "parse_answers"]

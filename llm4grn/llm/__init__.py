"""Language models as biologists: questions, answers, and the care that none is lost or paid twice."""

from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.parsing.answers_by_target import parse_answers

__all__ = ["Answer", "parse_answer", "parse_answers"]

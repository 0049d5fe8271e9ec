"""Prompting strategies, each defined by one YAML file, either shipped or the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from llm4grn.errors import UserError
from llm4grn.llm.openai.protocol import encodable

Messages = list[dict[str, str]]

_FOLDER = Path(__file__).with_name("templates")
_FORMATS = ("text", "json")
_FORMS = ("answer", "answer_of_several", "answer_signed")
# The placeholders that each text must contain and may contain.
_REQUIRED = {
    "system": (),
    "transcription_factors": ("genes", "answer"),
    "regulators": ("target", "tfs", "k", "answer"),
    "regulators_of_several": ("targets", "tfs", "k", "answer"),
    "repair": ("reason", "answer"),
    "repair_empty": ("answer",),
    **{f"answer{several}_{form}": () for several in ("", "_of_several") for form in _FORMATS},
}
# Further texts of a strategy that asks for signs: $answer for the regulators of one target.
_REQUIRED_FOR_SIGNS: dict[str, tuple[str, ...]] = {f"answer_signed_{form}": () for form in _FORMATS}
_OPTIONAL = {
    "system": ("context",),
    "transcription_factors": ("n_genes", "context"),
    "regulators": ("n_tfs", "context"),
    "regulators_of_several": ("n_targets", "n_tfs", "context"),
}


@dataclass(frozen=True)
class Prompts:
    """The prompts of one strategy, constructed by `load`.

    Parameters
    ----------
    name
        Name of the shipped strategy, or the stem of the user's file.
    texts
        Prompt of each kind of question, with ``$placeholders``.
    reasoning
        Whether the model reasons before it answers.
    answer_format
        ``text`` (``<Answer> [A, B] </Answer>``) or ``json``, for servers that enforce a schema (see
        `llm4grn.llm.schema`).
    signs
        Whether the model is asked, for each regulator, if it activates or represses the target.
    """

    name: str = field(compare=False)  # the key holds the texts instead
    texts: Mapping[str, str]
    reasoning: bool
    answer_format: str = "text"
    signs: bool = field(default=False, metadata={"optional": True})

    @classmethod
    def load(cls, name_or_path: str = "cot_context", answer_format: str = "text") -> Prompts:
        """Load a shipped strategy or the user's own YAML file.

        Shipped are ``zero_shot``, ``cot``, ``cot_context``, ``cot_context_signs``, and ``cot_context_v1``, the wording
        of the recording.

        Raises
        ------
        UserError
            If there is no such strategy, or the file is invalid; the message names file, key and valid content.
        """
        if answer_format not in _FORMATS:
            raise UserError(f"llm.answer_format={answer_format}: choose one of {', '.join(_FORMATS)}")
        if not isinstance(name_or_path, str) or not name_or_path.strip():
            raise UserError(f"llm.prompts={name_or_path}: expected the name of a strategy or the path of a YAML file")
        shipped = {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}
        path = shipped.get(name_or_path, Path(name_or_path))
        where = f"llm.prompts={name_or_path}"
        if not path.is_file():
            raise UserError(f"{where}: neither one of {', '.join(shipped)} nor a file")
        content = _checked(_read_yaml(path, where), where)
        reasoning, signs = content.pop("reasoning"), content.pop("signs", False)
        unused = [f"{form}_{name}" for form in _FORMS for name in _FORMATS if name != answer_format]
        texts = {key: text.strip() for key, text in content.items() if key not in unused}
        return cls(path.stem, texts, reasoning, answer_format, signs)

    def transcription_factors(self, genes: Sequence[str], context: str = "") -> Messages:
        """Return the prompt that asks which of ``genes`` are transcription factors."""
        words = {"genes": ", ".join(genes), "n_genes": len(genes)}
        return self._ask("transcription_factors", words, context)

    def regulators(self, targets: Sequence[str], tf_names: Sequence[str], k: int, context: str = "") -> Messages:
        """Return the prompt that asks for the ``k`` transcription factors that regulate each target."""
        if not targets:
            raise ValueError("no target to ask about")
        words = {"tfs": ", ".join(tf_names), "n_tfs": len(tf_names), "k": k}
        if len(targets) == 1:
            return self._ask("regulators", {"target": targets[0], **words}, context)
        return self._ask(
            "regulators_of_several", {"targets": ", ".join(targets), "n_targets": len(targets), **words}, context
        )

    def repair(self, messages: Sequence[Mapping[str, str]], reply_text: str, reason: str) -> Messages:
        """Extend the conversation by a request to answer again, as ``reply_text`` is unusable for ``reason``."""
        conversation = [dict(message) for message in messages]
        forms = [self._answer(form) for form in _FORMS if f"{form}_{self.answer_format}" in self.texts]
        asked = [form for form in forms if any(form in message["content"] for message in conversation)]
        # One form can begin as another does; the longest is the one that was asked for.
        words = {"reason": reason, "answer": max(asked, key=len, default=forms[0])}
        if reply_text.strip():
            again = _fill(self.texts["repair"], words)
            return [*conversation, {"role": "assistant", "content": reply_text}, {"role": "user", "content": again}]
        # Servers reject an empty message, and some reject two consecutive messages of the user.
        conversation[-1]["content"] += "\n\n" + _fill(self.texts["repair_empty"], words)
        return conversation

    def _answer(self, form: str) -> str:
        return _fill(self.texts[f"{form}_{self.answer_format}"], {})

    def _ask(self, kind: str, words: Mapping[str, Any], context: str) -> Messages:
        if not isinstance(context, str):
            raise UserError(f"dataset.context={context}: expected a few sentences of text, or an empty one")
        form = {"regulators_of_several": _FORMS[1], "regulators": _FORMS[2 if self.signs else 0]}.get(kind, _FORMS[0])
        words = {**words, "context": " ".join(context.split()), "answer": self._answer(form)}
        contents = {"system": _fill(self.texts["system"], words), "user": _fill(self.texts[kind], words)}
        return [{"role": role, "content": content} for role, content in contents.items() if content]


def _fill(text: str, words: Mapping[str, Any]) -> str:
    if not words.get("context"):
        text = "\n".join(line for line in text.split("\n") if "context" not in Template(line).get_identifiers())
    return Template(text).substitute(words).strip()


def _read_yaml(path: Path, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or "a fault").split())
        raise UserError(
            f"{where}{line}: not valid YAML ({problem}); start from a copy of a shipped one, in llm4grn/llm/templates"
        ) from error


def _checked(content: Any, where: str) -> dict[str, Any]:
    keys = ["reasoning", *_REQUIRED]
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected the keys {', '.join(keys)}, each with its text")
    if content.get("signs", False) is True:
        keys += _REQUIRED_FOR_SIGNS
    for key in content:
        if key not in [*keys, "signs"]:
            raise UserError(f"{where}: unknown key {key}; the keys are {', '.join(keys)}")
    for key in keys:
        if key not in content:
            raise UserError(f"{where}: the key {key} is missing; the keys are {', '.join(keys)}")
    for key in "reasoning", "signs":
        if not isinstance(content.get(key, False), bool):
            raise UserError(f"{where}: {key}: expected true or false, not {content[key]!r}")
    for key in keys[1:]:
        _check_text(content[key], key, f"{where}: {key}")
    return dict(content)


def _check_text(text: Any, key: str, where: str) -> None:
    required = (_REQUIRED | _REQUIRED_FOR_SIGNS)[key]
    allowed = (*required, *_OPTIONAL.get(key, ()))
    choices = ", ".join(f"${word}" for word in allowed) or "none"
    if not isinstance(text, str):
        raise UserError(f"{where}: expected a text, not {text!r}; begin it with | on the line of its key")
    if text != encodable(text):
        raise UserError(f"{where}: holds half a character; save the file as UTF-8 and write characters, not codes")
    if not text.strip() and key != "system":
        raise UserError(f"{where}: the text is empty")
    if not Template(text).is_valid():
        raise UserError(f"{where}: a $ that begins no word; write $$ for the sign itself, or one of {choices}")
    words = Template(text).get_identifiers()
    for word in words:
        if word not in allowed:
            raise UserError(f"{where}: unknown word ${word}; it may contain: {choices} ($$ for a dollar sign)")
    for word in required:
        if word not in words:
            raise UserError(f"{where}: ${word} is missing; it may contain: {choices}")

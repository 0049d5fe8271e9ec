"""A closed vocabulary of gene names, and its lookup by the items of a language model's list."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LONGEST_ITEM = 2000  # characters; names are at the beginning, and the rest of a longer item is an explanation
_GREEK = str.maketrans("αβγδεζκ", "abgdezk")
_MARKUP = " \t\"'`*~#.,;:!?[]{}<>\\•+-"
_NUMBERING = re.compile(r"\(?#?\d{1,3}[.):]\s*(?=\S)")
_NAME = re.compile(r"[\w@][\w.\-/@+']{0,39}")
_SPLIT_ALIASES = re.compile(r"[,;/=]|\s(?:or|and|aka)\s", re.I)
_ALIAS_OF = re.compile(
    r"(?:also(?: known as| called)?|a\.?k\.?a\.?|encoded by|formerly|official|human|mouse|gene|symbol|"
    r"alias(?:es)?|or|i\.e\.)[\s:,]+",
    re.I,
)
_WHAT_IT_IS = re.compile(
    r"(?:the |a )?(?:tf|gene|symbol|name|regulator|transcription factor|answer)s?(?:$|[\s:=]+(?!-))", re.I
)
_EXPLAINED = re.compile(r"\s-+>?\s?|\s*(?:->|=>|→|:|=)\s*|\s(?=(?:because|since|due to|which)\s)")
_NEGATED = re.compile(
    r"\W*(?:(?:is|are|was)\s+)?(?:(?:no|false)\s*(?:$|[,;:(]|\.(?!\s?\d))|n$|isn't\b|non-(?:tf|transc)|excluded\b|rejected\b|"
    r"not\b(?=\W*$|\s(?:an?\s|known|considered|likely|relevant|involved|listed|tfs?\b|transcription))|unlikely\b)",
    re.I,
)
_NOTHING = re.compile(
    r"(?:none|no|nothing|n/?a|null|nil|empty|unknown|unclear|etc|and so on|others?|not applicable|remaining)"
    r"(?![\w.\-/])",
    re.I,
)
_SIGN = re.compile(
    r"[\s\"'`*)\]}]*(?:[(\[:=|]\s*|-+>?\s+(?=[a-z]))*[\"'`*]*"
    r"(?:(?P<activates>\+1?(?![\w.]|\s+\w)|1(?![\w.])|activat|induc|positive|up\b)"
    r"|-1?(?![\w.>]|\s+\w)|repress|inhibit|negative|down\b)",
    re.I,
)
_NO_GENES = frozenset(["tf", "tfs", "dna", "rna", "mrna", "json", "grn", "pbmc", "pbmcs", "chip-seq", "scrna-seq"])


class Mention(NamedTuple):
    """One name in an answer: the offered ``symbol`` that it denotes, or None, its spelling, and its sign.

    The sign is 1 for activation, -1 for repression, 0 if none is stated.
    """

    symbol: str | None
    written: str
    sign: int = 0


class Vocabulary:
    """The offered names, found by exact spelling or else regardless of case.

    A name that matches several offered names regardless of case but none exactly is ambiguous and not found.
    """

    def __init__(self, offered: Iterable[str]) -> None:
        self._exact: dict[str, str | None] = {}
        self._loose: dict[str, str | None] = {}
        self._read: dict[tuple[str, bool], list[Mention] | None] = {}
        for name in dict.fromkeys(offered):
            plain = plain_text(name).strip()
            for names, key in ((self._exact, plain), (self._loose, _loose(plain))):
                names[key] = None if key in names or not key else name
        self._ordered = sorted(name for name in self._exact if name)

    def find(self, name: str, exact: bool = False) -> str | None:
        """Return the offered symbol with this name, or None; with ``exact`` the case must be the same."""
        symbol = self._exact.get(name)
        return symbol if symbol or exact else self._loose.get(_loose(name))

    def continues(self, start: str) -> bool:
        """Return True if any offered symbol is longer than ``start`` and begins with it."""
        at = bisect_right(self._ordered, start)
        return at < len(self._ordered) and self._ordered[at].startswith(start)

    def read(self, item: str, prose_may_follow: bool = False) -> list[Mention] | None:
        """Return the names in one item of a list: ``PU.1 (SPI1) - master regulator`` names SPI1, ``BCL6-`` represses.

        Parameters
        ----------
        item
            Plain text (see `plain_text`), usually one name.
        prose_may_follow
            Whether words may follow the name without punctuation: ``SPI1 is a master regulator``.

        Returns
        -------
        list or None
            The mentions; empty if the item states that there is no name (``none``, ``...``, ``ACTB: no``), None if it
            is prose.
        """
        key = (item[:_LONGEST_ITEM], prose_may_follow)
        if key not in self._read:
            text = " ".join(key[0].split())
            mentions = self._read_item(text, prose_may_follow)
            if mentions and len(mentions) == 1:
                written = mentions[0].written
                mentions = [mentions[0]._replace(sign=stated_sign(text[text.rfind(written) + len(written) :]))]
            self._read[key] = mentions
        return self._read[key]

    def _read_item(self, item: str, prose_may_follow: bool) -> list[Mention] | None:
        item = re.sub(r"^(?:and|or|&)\s", "", item)
        bare = item.strip(_MARKUP)
        unnumbered = _NUMBERING.sub("", bare, count=1).strip(_MARKUP) if _NUMBERING.match(bare) else bare
        for text in (item, bare, unnumbered, unnumbered.strip("_")):
            if symbol := self.find(text):
                return [Mention(symbol, text)]
        if not any(map(str.isalpha, unnumbered)) or _NOTHING.match(unnumbered):
            return []
        text = unnumbered.strip("_")
        if what := _WHAT_IT_IS.match(text):
            rest = text[what.end() :]
            return self._read_item(rest, prose_may_follow) if rest else None
        if _NAME.fullmatch(text):
            return self._offered(text.split("/")) or [Mention(None, text)]
        sign, bracket = _EXPLAINED.search(text), re.search(r"[(\[]", text)
        if bracket and (sign is None or bracket.start() < sign.start()):
            return self._read_alias(text[: bracket.start()].strip(), text[bracket.end() :], prose_may_follow)
        if sign and sign.start():
            return self._read_explained(text[: sign.start()], text[sign.end() :], prose_may_follow)
        return self._read_words(text, prose_may_follow)

    def _read_alias(self, head: str, tail: str, prose_may_follow: bool) -> list[Mention] | None:
        """Read the offered names of ``SPI1 (PU.1)``, ``PU.1 (SPI1)``, ``SPI1 (0.9)`` or ``AP-1 (JUN, FOS)``."""
        inside, _, after = re.sub(r"[)\]]", "\n", tail, count=1).partition("\n")
        named = self._read_item(head, prose_may_follow) if head else None
        if named and any(mention.symbol for mention in named):
            if _NEGATED.match(inside) or _NEGATED.match(after.lstrip(" -:")):
                return []
            another = re.match(r"\s(?:and|or|&|\+)\s", after)
            return named + (self._read_item(after[another.end() :], False) or []) if another else named
        parts = [_ALIAS_OF.sub("", part.strip(_MARKUP + "()"), count=1) for part in _SPLIT_ALIASES.split(inside)]
        if named is None and (len(head.split()) > 4 or re.match(r"\s*\w", after)):
            return None  # a sentence with an aside
        return self._offered(parts) or named

    def _read_explained(self, head: str, tail: str, prose_may_follow: bool) -> list[Mention] | None:
        """Read an item such as ``SPI1 - a reason``, ``SPI1: 0.9``, ``PU.1 = SPI1`` or ``ACTB: no``."""
        named = self._read_item(head, prose_may_follow)
        if not named:
            return None
        if all(mention.symbol is None for mention in named) and (symbol := self.find(tail.strip(_MARKUP))):
            return [Mention(symbol, tail.strip(_MARKUP))]
        if _NEGATED.match(tail):
            return []
        # "Note: ..." and, with IMPACT offered, "Impact: high" are headings.
        return named if all(self._is_exact(mention) or looks_like_gene(mention.written) for mention in named) else None

    def _read_words(self, text: str, prose_may_follow: bool) -> list[Mention] | None:
        """Read an item such as ``A and B``, ``A B C``, ``SPI1 is a reason`` or ``NF-kappa B``."""
        parts = re.split(r"\s(?:and|or|&|\+)\s", text)
        joined = [self._read_item(part, False) for part in parts] if len(parts) > 1 else []
        if joined and all(joined):
            mentions = [mention for part in joined for mention in part or ()]
            if all(mention.symbol or looks_like_gene(mention.written) for mention in mentions):
                return mentions
        words = [word.strip(_MARKUP) for word in text.split()]
        words = [word for word in words if any(map(str.isalpha, word)) or self.find(word)]
        exact = [bool(self.find(word, exact=True)) for word in words]
        if len(words) > 1 and any(exact) and all(e or looks_like_gene(w) for e, w in zip(exact, words, strict=True)):
            return [Mention(self.find(word), word) for word in words]
        if prose_may_follow and exact and exact[0] and looks_like_gene(words[0]):
            rest = text[text.find(words[0]) + len(words[0]) :]
            return [] if _NEGATED.match(rest) else [Mention(self.find(words[0]), words[0])]
        odd_name = prose_may_follow and len(words) <= 3 and bool(words) and looks_like_gene(words[0])
        return [Mention(None, text)] if odd_name else None

    def _offered(self, names: Sequence[str]) -> list[Mention]:
        return [Mention(symbol, name) for name in names if (symbol := self.find(name.strip(_MARKUP)))]

    def _is_exact(self, mention: Mention) -> bool:
        return self.find(mention.written, exact=True) is not None


def stated_sign(text: str) -> int:
    """Return the sign with which the text after a name begins: 1 for activation, -1 for repression, 0 for none.

    Examples
    --------
    >>> [stated_sign(text) for text in ("+", " (-)", ": activator", " - represses it", " -1", " - a regulator", "")]
    [1, -1, 1, -1, -1, 0, 0]
    """
    sign = _SIGN.match(text)
    return 0 if sign is None else 1 if sign["activates"] else -1


def looks_like_gene(word: str) -> bool:
    """Return True if a word has a digit or at least two capitals, which words of a natural language rarely have."""
    return word.lower() not in _NO_GENES and (any(map(str.isdigit, word)) or sum(map(str.isupper, word)) > 1)


def plain_text(text: str) -> str:
    """Convert a text to ASCII punctuation: dashes, quotes, spaces, bullets, invisible characters and HTML entities."""
    # By character: normalising a whole text takes quadratic time for many combining accents.
    text = text.translate({ord(char): _plain_character(char) for char in set(text) if not " " <= char <= "~"})
    text = _ENTITY.sub(lambda match: _ENTITIES[match[1].lower()], text)
    return re.sub(r"\\(?=[_*\-\[\]<>#.])", "", text)


_ENTITIES = {
    "lt": "<",
    "gt": ">",
    "quot": '"',
    "#34": '"',
    "apos": "'",
    "#39": "'",
    "#x27": "'",
    "nbsp": " ",
    "amp": "&",
}
_ENTITY = re.compile(rf"&(?:amp;)?({'|'.join(_ENTITIES)});", re.I)
_SIGNS = {
    **dict.fromkeys("\n\u0085\u2028\u2029\v\f", "\n"),
    "\t": "\t",
    "\r": "\n",
    **dict.fromkeys("—―", " - "),
    "−": "-",
    **dict.fromkeys("、،", ","),
    "。": ".",
    **dict.fromkeys("【〔", "["),
    **dict.fromkeys("】〕", "]"),
    **dict.fromkeys("「」『』„‚〝〞〟", '"'),
    **dict.fromkeys("‣◦●▪▫■□○⁃∙·", "•"),
}


def _plain_character(char: str) -> str:
    if char in _SIGNS:
        return _SIGNS[char]
    category = unicodedata.category(char)
    if category in {"Cf", "Cc", "Cs", "Mn", "So"}:
        return ""
    if category == "Pd":
        return "-"
    if category in {"Pi", "Pf"}:
        return '"'
    if unicodedata.decomposition(char).startswith("<circle>"):
        return " "
    return unicodedata.normalize("NFKC", char)


def _loose(name: str) -> str:
    return name.casefold().translate(_GREEK)

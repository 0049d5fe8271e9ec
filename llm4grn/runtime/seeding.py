"""Independent random streams, each a pure function of a seed and a name, so that stages share no random state."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**31) that depends on ``seed`` and every name, for any library's random generator.

    Parameters
    ----------
    seed
        The seed of the run.
    names
        Purpose of the stream, for instance ``("causal_gan", "noise", step)``.

    Examples
    --------
    >>> derive_seed(1000, "control", 0) == derive_seed(1000, "control", 0)
    True
    >>> derive_seed(1000, "control", 0) == derive_seed(1000, "control", 1)
    False
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF

"""Seeds and ids as hashes of what they are for, so that no two images share noise and every run repeats.

A draw or an id depends only on the seed and on the words and numbers that name it, never on the order in
which quanta happen to run.
"""

import hashlib

import numpy as np

__all__ = ["generator", "hash63", "hash63_array"]

_MASK63 = (1 << 63) - 1


def hash63(*keys: object) -> int:
    """Hash a sequence of words and numbers to a positive 63-bit integer.

    Parameters
    ----------
    *keys : `object`
        Anything with a stable ``str``: seeds, names, ids. Order matters.

    Returns
    -------
    value : `int`
        In ``[1, 2**63)``; 0 is left free to mean "none".
    """
    text = "\x1f".join(str(key) for key in keys)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") & _MASK63) or 1


def hash63_array(count: int, *keys: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Hash the indices ``0 .. count - 1`` under common keys.

    Parameters
    ----------
    count : `int`
        How many ids to make.
    *keys : `object`
        As for `hash63`; the index is appended.

    Returns
    -------
    values : `numpy.ndarray`, (count,), int64
        One positive id per index.
    """
    return np.array([hash63(*keys, index) for index in range(count)], dtype=np.int64)


def generator(*keys: object) -> np.random.Generator:
    """Make a random generator that belongs to these keys alone.

    Parameters
    ----------
    *keys : `object`
        As for `hash63`, for example ``generator(config.seed, "noise", visit, detector)``.

    Returns
    -------
    rng : `numpy.random.Generator`
        PCG64, whose stream NumPy keeps stable.
    """
    return np.random.Generator(np.random.PCG64(hash63(*keys)))

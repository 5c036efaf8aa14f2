"""CRC-32C (Castagnoli; RFC 3720, appendix B.4) of large buffers, in NumPy alone.

The remainder is linear over the message's bits. So neighbouring words are folded into one, all
pairs at once, until one is left: a table lookup per byte, which is hundreds of megabytes a second.
"""

import functools

import numpy as np

_POLYNOMIAL = np.uint32(0x82F63B78)  # its bits in reverse order
_CHUNK = 1 << 18  # bytes folded at a time, so that they stay in the processor's cache
_ONES = np.uint32(0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The checksum of bytes, an unsigned 32-bit number."""
    remainder = np.array([_ONES])
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        remainder = _after_zeros(remainder, len(chunk)) ^ _folded(chunk)
    return int(remainder[0] ^ _ONES)


def _folded(chunk: bytes) -> np.ndarray:
    """The remainder uint32 [1] of the chunk alone; zeros in front of a message do not change it."""
    words = np.frombuffer(bytes(-len(chunk) % 4) + chunk, "<u4")
    power = 2
    while len(words) > 1:
        if len(words) % 2:
            words = np.concatenate([np.zeros(1, np.uint32), words])
        words = _after_power_of_two_zeros(words[0::2], power) ^ words[1::2]
        power += 1
    return _after_power_of_two_zeros(words, 2)


def _after_zeros(remainder: np.ndarray, count: int) -> np.ndarray:
    """The remainder after `count` more bytes of zeros."""
    for power in range(count.bit_length()):
        if count >> power & 1:
            remainder = _after_power_of_two_zeros(remainder, power)
    return remainder


def _after_power_of_two_zeros(remainders: np.ndarray, power: int) -> np.ndarray:
    """Remainders uint32 [...] after 2 ** power more bytes of zeros."""
    tables = _tables(power)
    result = tables[0][remainders & 0xFF]
    for place in (1, 2, 3):
        result = result ^ tables[place][(remainders >> 8 * place) & 0xFF]
    return result


@functools.cache
def _tables(power: int) -> np.ndarray:
    """uint32 [4, 256]: what each value of each byte of a remainder becomes after 2 ** power zeros.

    Zeros act linearly, so that twice as many are the same tables applied to themselves.
    """
    if power:
        return _after_power_of_two_zeros(_tables(power - 1), power - 1)
    values = np.arange(256, dtype=np.uint32)
    lowest = values
    for _ in range(8):
        lowest = (lowest >> 1) ^ np.where(lowest & 1, _POLYNOMIAL, np.uint32(0))
    return np.stack([lowest, values, values << 8, values << 16])

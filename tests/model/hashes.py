"""Our hashes, as functions draw(key, site, row_ids, shape) whose 32 bits all count."""

import numpy as np

from bertjax.model.dropout import dropout_bits, random_bits


def upper_half(*where):
    """Of dropout's bits, twice: the lower half decides nothing."""
    bits = dropout_bits(*where)
    return (bits & np.uint32(0xFFFF0000)) | (bits >> 16)


OURS = {"masks": random_bits, "dropout": upper_half}

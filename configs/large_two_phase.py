"""BERT-large as its paper trained it: 90% of the steps at length 128, the rest at 512.

    bertjax pretrain configs/large_two_phase.py --data DATA --run RUN

Devlin et al. 2018 (arXiv 1810.04805), appendix A.2: the schedule of BERT-base, four days on 16
Cloud TPUs (64 chips). Published: 86.7% on MNLI (matched, table 1), SQuAD 1.1 F1 90.9 (dev, single
model, table 2).

Here: TPU v5e, 8x8 (64 chips of 16 GiB), of which the second phase takes less than 4 GB each
(`bertjax plan`), 4 rows a chip, 42.6 billion tokens. What differs from the publication stands in
`base_two_phase.py`.
"""

import dataclasses

from bertjax.config import Config, load_config


def get_config() -> Config:
    return dataclasses.replace(load_config("base_two_phase"), model=load_config("large").model)

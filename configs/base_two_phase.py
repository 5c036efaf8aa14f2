"""BERT-base as its paper trained it: 90% of the steps at length 128, the rest at 512.

    bertjax pretrain configs/base_two_phase.py --data DATA --run RUN

Devlin et al. 2018 (arXiv 1810.04805), appendix A.2: 1 million steps of 256 sequences, Adam at 1e-4
with 10,000 steps of warmup and linear decay, dropout 0.1, four days on 4 Cloud TPUs (16 chips).
42.6 billion tokens. Published: 84.6% on MNLI (matched, table 1), SQuAD 1.1 F1 88.5 (dev, table 2).

Here: TPU v5e, 4x4 (16 chips of 16 GiB), of which the second phase takes less than 3 GB each
(`bertjax plan`), 16 rows a chip, 42.6 billion tokens. One run; the second phase goes on with the
weights and the optimizer state of the first, and the learning rate decays over both. What differs
from the publication: the text is yours (theirs: BooksCorpus and English Wikipedia, 3.3 billion
words); short pairs share a row; pairs and masks are drawn anew every epoch; Adam has its bias
correction, which google-research/bert leaves out; the rate falls from the end of the warmup (there
from step 0, which is 1% less); GELU is exact (there by tanh). Gradients are clipped at 1 as in its
optimization.py.
"""

import dataclasses

from bertjax.config import Config, Phase, load_config


def get_config() -> Config:
    config = load_config("base")
    phases = (
        Phase(steps=900_000, length=128, batch_size=256, learning_rate=1e-4, warmup_steps=10_000),
        Phase(steps=100_000, length=512, batch_size=256, learning_rate=1e-4, warmup_steps=0),
    )
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, length=128),
        train=dataclasses.replace(config.train, phases=phases),
    )

"""BERT-base in two phases: nine tenths of the steps at length 128, the rest at 512.

    bertjax pretrain configs/base_two_phase.py --data DATA --run RUN

The schedule of Devlin et al. 2018, appendix A.2, in one run: the second phase goes on with the
weights and the optimizer state of the first, and the learning rate decays over both. 1 million
steps of 256 rows.
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

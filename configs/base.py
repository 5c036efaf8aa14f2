"""BERT-base as published (Devlin et al. 2018, section 3 and appendix A.2).

    bertjax pretrain configs/base.py --data DATA --run RUN

12 layers of 768, 110,106,428 parameters at a vocabulary of 30,522. The paper trained 1 million
steps of 256 rows in four days on 4 Cloud TPUs (16 chips), 90% of the steps at length 128: see
`base_two_phase.py` for that schedule; this one stays at length 512.
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(),
        data=DataConfig(length=512),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_steps=10_000),
        train=TrainConfig(steps=1_000_000, batch_size=256),
    )

"""BERT-large as published (Devlin et al. 2018, section 3 and appendix A.2).

    bertjax pretrain configs/large.py --data DATA --run RUN

24 layers of 1024, 336,226,108 parameters at a vocabulary of 30,522. The paper trained four days on
16 Cloud TPUs (64 chips), 90% of the steps at length 128: see `large_two_phase.py` for that
schedule; this one stays at length 512.
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(num_layers=24, hidden_size=1024, num_heads=16, intermediate_size=4096),
        data=DataConfig(length=512),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_steps=10_000),
        train=TrainConfig(steps=1_000_000, batch_size=256),
    )

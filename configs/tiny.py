"""BERT-tiny: 2 layers of 128, in minutes on two CPU cores.

    bertjax pretrain configs/tiny.py --data DATA --run RUN
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(
            num_layers=2,
            hidden_size=128,
            num_heads=2,
            intermediate_size=512,
            dropout=0.0,
            initializer_range=0.05,
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=200),
        train=TrainConfig(
            steps=4_000, batch_size=32, log_every=50, evaluate_every=500, checkpoint_every=500
        ),
    )

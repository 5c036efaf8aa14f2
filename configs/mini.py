"""BERT-mini: 4 layers of 256, for two CPU cores or any accelerator.

    bertjax pretrain configs/mini.py --data DATA --run RUN

As in `tiny.py`, rows of 16 tokens come first. On English Wikipedia and books with 8,192 pieces
(10.9 million tokens): mlm_loss 4.61, mlm_accuracy 0.270, nsp_accuracy 0.716 (one seed, not tuned).
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, Phase, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(
            num_layers=4,
            hidden_size=256,
            num_heads=4,
            intermediate_size=1024,
            max_length=128,
            dropout=0.0,
            initializer_range=0.05,
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=100, weight_decay=0.0, beta2=0.98, schedule="linear"
        ),
        train=TrainConfig(
            steps=4000,  # the sum of the phases
            batch_size=24,
            phases=(
                Phase(700, length=16, batch_size=128, learning_rate=1e-3, warmup_steps=100),
                Phase(300, length=32, batch_size=64, learning_rate=1e-3, warmup_steps=20),
                Phase(300, length=64, batch_size=32, learning_rate=1e-3, warmup_steps=20),
                Phase(2700, length=128, batch_size=24, learning_rate=1e-3, warmup_steps=20),
            ),
            log_every=50,
            evaluate_every=500,
            checkpoint_every=1000,
        ),
    )

"""BERT-tiny: 2 layers of 128, in about ten minutes on two CPU cores.

    bertjax pretrain configs/tiny.py --data DATA --run RUN

Rows of 16 tokens come first: runs that began so left the plateau of word frequencies (mlm_loss 6.4
to 6.6) after about a thousand steps, runs on longer rows had not when they were stopped (1 to 3
million tokens). A prototype's first-layer heads then looked at the words before and after. The
short rows were not ablated apart from the other settings.

Measured on 22 MB of English Wikipedia, 8,192 pieces, 12.7 million tokens: mlm_loss 4.60,
mlm_accuracy 0.283, nsp_accuracy 0.766 (the majority label alone: 0.571); in later runs on two kinds
of processor 4.57, 0.284 and 0.724 in 7.2 minutes, 4.58, 0.284 and 0.656 in 9.4.
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, Phase, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(
            num_layers=2,
            hidden_size=128,
            num_heads=2,
            intermediate_size=512,
            max_length=128,
            dropout=0.0,
            initializer_range=0.05,
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-3,
            warmup_steps=100,
            schedule="wsd",
            decay_share=0.35,
            weight_decay=0.0,
            beta2=0.98,
        ),
        train=TrainConfig(
            steps=6300,  # the sum of the phases
            batch_size=16,
            phases=(
                Phase(800, length=16, batch_size=128, learning_rate=1.5e-3, warmup_steps=100),
                Phase(250, length=32, batch_size=64, learning_rate=1.5e-3, warmup_steps=20),
                Phase(250, length=64, batch_size=32, learning_rate=1.5e-3, warmup_steps=20),
                Phase(5000, length=128, batch_size=16, learning_rate=1.5e-3, warmup_steps=20),
            ),
            log_every=50,
            evaluate_every=400,
            checkpoint_every=1000,
        ),
    )

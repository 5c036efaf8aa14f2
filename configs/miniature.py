"""The 24 BERT miniatures (Turc et al. 2019, "Well-Read Students Learn Better", table 1).

Layers 2, 4, 6, 8, 10 or 12 by hidden size 128, 256, 512 or 768; heads of 64, feed-forward four
times the hidden size. The paper's schedule: 1 million steps of 256 rows.

    bertjax pretrain configs/miniature.py:num_layers=4,hidden_size=256 --data DATA --run RUN

`tiny` (2/128), `mini` (4/256), `small` (4/512), `medium` (8/512) and `base` (12/768) have files of
their own.
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.errors import UserError

LAYERS = (2, 4, 6, 8, 10, 12)
HIDDEN_SIZES = (128, 256, 512, 768)


def get_config(num_layers: int = 2, hidden_size: int = 128) -> Config:
    if num_layers not in LAYERS or hidden_size not in HIDDEN_SIZES:
        raise UserError(
            f"no miniature with num_layers={num_layers}, hidden_size={hidden_size}: "
            f"layers are {LAYERS}, hidden sizes {HIDDEN_SIZES}"
        )
    return Config(
        model=ModelConfig(
            num_layers=num_layers,
            hidden_size=hidden_size,
            num_heads=hidden_size // 64,
            intermediate_size=4 * hidden_size,
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_steps=10_000),
        train=TrainConfig(steps=1_000_000, batch_size=256),
    )

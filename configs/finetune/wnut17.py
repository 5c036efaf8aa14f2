"""WNUT-17: rare and emerging entities of six types in English posts and comments.

    bertjax finetune configs/finetune/wnut17.py --init CHECKPOINT \\
        --train train.conll --dev dev.conll --run RUN

The test file's sentences come from other sites than the training file's: models of BERT-base's
size reach an entity F1 of 0.40 to 0.55. Neighbours in a file are posts of different people, so
`task.context`, which shows a sentence those around it, stays 0.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Tagging, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=4, batch_size=16, log_every=20),
        task=Tagging(),
    )

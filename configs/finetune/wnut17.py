"""WNUT-17: rare and emerging entities of six types in English posts and comments.

    bertjax finetune configs/finetune/wnut17.py --init CHECKPOINT \\
        --train train.conll --dev dev.conll --run RUN

The test file's sentences come from other sites than the training file's: models of BERT-base's
size reach an entity F1 of 0.40 to 0.55. Neighbours in a file are posts of different people, so
`task.context`, which shows a sentence those around it, stays 0.

Measured with `--train.epochs=3` and one seed, all-MiniLM-L6-v2 (6 layers of 384, uncased): 0.504 on
the dev file, 0.422 on the test file, and still rising.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Tagging, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=5, batch_size=16, log_every=20),
        task=Tagging(),
    )

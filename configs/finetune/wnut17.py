"""WNUT-17: rare and emerging entities of six types in English posts and comments.

    bertjax finetune configs/finetune/wnut17.py --init CHECKPOINT \\
        --train train.conll --dev dev.conll --run RUN

The test file's sentences come from other sites than the training file's: models of BERT-base's
size reach an entity F1 of 0.40 to 0.55. Neighbours in a file are posts of different people, so
`task.context`, which shows a sentence those around it, stays 0.

Measured with all-MiniLM-L6-v2 (6 layers of 384, uncased) and three seeds: 0.573 ± 0.008 on the dev
file, 0.409 ± 0.011 on the test file; from scratch 0.145 and 0.105. Three epochs at the paper's 5e-5
gave 0.504 and 0.422 (one seed): what is gained on dev is not gained on other sites.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Tagging, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_share=0.1),
        train=TrainConfig(epochs=10, batch_size=16, log_every=20),
        task=Tagging(),
    )

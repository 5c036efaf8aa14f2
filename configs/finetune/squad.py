"""SQuAD 1.1: the words of a Wikipedia paragraph that answer a question.

    bertjax finetune configs/finetune/squad.py --init CHECKPOINT --train FILE --dev FILE --run RUN

Learning rate and epochs are the paper's (section 4.2). A model with fewer positions takes shorter
windows: `--data.length=128`.

Measured on parts of SQuAD's dev set (7,377 questions to learn from, 1,702 to report) with
all-MiniLM-L6-v2 (6 layers of 384): F1 68.7% with this rate (one seed), 72.0% with 2e-4 (two seeds),
from scratch 9.0% (2e-4). A small model wants the larger rate.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, QuestionAnswering, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=384),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=16),
        task=QuestionAnswering(),
    )

r"""CoLA: is a sentence good English (1) or not (0)? (Warstadt et al. 2018).

    bertjax finetune configs/finetune/cola.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are `sentence` and `label`; `tfds:glue/cola@train` and `tfds:glue/cola@validation` do in
place of files. Scored by Matthews correlation, as GLUE does: always answering 1 gives 0.

Measured with all-MiniLM-L6-v2 (6 layers of 384) and three seeds: 0.406 ± 0.028, with the paper's
5e-5, batches of 32 and 3 epochs 0.296 (one seed). The recipe was chosen on rows held out of the
training file.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="sentence", labels=("0", "1"), metric="matthews"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_share=0.1, layer_decay=0.9),
        train=TrainConfig(epochs=8, batch_size=16),
    )

"""BERT-base with what has been learnt since: 30% masked, no next sentence, full rows of 512, WSD.

    bertjax pretrain configs/modern.py --data DATA --run RUN

The batch, the rate and the number of tokens are MosaicBERT's (Portes et al. 2023, arXiv 2312.17482;
mosaicml/examples, mosaic-bert-base-uncased.yaml): 70,000 steps of 524,288 tokens, 36.7 billion in
all, AdamW at 5e-4, 6% warmup, beta2 0.98. More than 15% masked: Wettig et al. 2023 (arXiv
2202.08005; 40% for BERT-large), 30% in MosaicBERT. No next sentence: Liu et al. 2019 (RoBERTa),
section 4.2. A rate that stays level until the last tenth of the steps (Hu et al. 2024, MiniCPM,
arXiv 2404.06395, section 4), so that a run can be extended from the checkpoint before it: of the
finished run's five, remove the folders after 62000, then give more `--train.steps`.
Published for MosaicBERT-base: GLUE (dev) 79.6 after 1.13 hours on 8 A100, an early point of its
curve and not the end of such a run.

Here: TPU v5e, 4x4 (16 chips of 16 GiB), 4 microbatches, less than 4 GB a chip (`bertjax plan`).
What differs from MosaicBERT: the text is yours (theirs: C4); rows of 512, not 128; BERT's own
layers (theirs: ALiBi, gated linear units, no dropout in attention); weight decay 0.01 times the
rate (theirs: 1e-5 of its own); their rate falls linearly all along. As a whole this recipe is
untried.
"""

from bertjax.config import (
    Config,
    DataConfig,
    MaskingConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    return Config(
        model=ModelConfig(),
        data=DataConfig(length=512, pairs="none"),
        masking=MaskingConfig(rate=0.3),
        optimizer=OptimizerConfig(
            learning_rate=5e-4, warmup_share=0.06, beta2=0.98, schedule="wsd", decay_share=0.1
        ),
        train=TrainConfig(
            steps=70_000,
            batch_size=1_024,
            accumulation=4,
            evaluate_every=2_000,
            checkpoint_every=2_000,
            keep_checkpoints=5,  # the oldest is of before the rate falls
        ),
    )

"""BERT-large in 8,601 steps: LAMB with batches of 65,536 rows, then 32,768.

    bertjax pretrain configs/lamb_76_minutes.py --data DATA --run RUN

You et al. 2020 (arXiv 1904.00962), section 4.1, "mixed-batch training": rows of 128 for nine tenths
of the epochs, rows of 512 for the last tenth, the learning rate warmed up anew for the second
stage; 8,599 steps, 76 minutes on a TPUv3 Pod of 1,024 chips, SQuAD 1.1 F1 90.58 (table 1). The
steps, rates and warmups of the two stages are those of NVIDIA's reproduction (DeepLearningExamples,
PyTorch/LanguageModeling/BERT/scripts/configs/pretrain_config.sh): 7,038 steps at 6e-3 (28.43% of
them warmup), then 1,563 at 4e-3 (12.8%). 512 million rows, as their baseline of 1 million steps of
512. Weight decay 0.01.

Here: TPU v5e, 16x16 (256 chips of 16 GiB), 16 microbatches, less than 9 GB a chip (`bertjax plan`),
85 billion tokens. What differs from the publication: the text is yours; short pairs share a row;
both stages decay linearly, as the paper says (NVIDIA: by the square root); the second keeps the
optimizer's moments.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Phase, TrainConfig, load_config


def get_config() -> Config:
    return Config(
        model=load_config("large").model,
        data=DataConfig(length=128),
        # The phases have rates and warmups of their own; these are for a run without them.
        optimizer=OptimizerConfig(name="lamb", learning_rate=6e-3, warmup_steps=800),
        train=TrainConfig(
            batch_size=65_536,
            accumulation=16,
            phases=(
                Phase(7_038, length=128, batch_size=65_536, learning_rate=6e-3, warmup_steps=2_000),
                Phase(
                    1_563,
                    length=512,
                    batch_size=32_768,
                    learning_rate=4e-3,
                    warmup_steps=200,
                    restart_schedule=True,
                ),
            ),
            log_every=10,
            evaluate_every=500,
            checkpoint_every=500,
        ),
    )

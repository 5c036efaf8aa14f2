r"""KLUE-NLI: does a Korean hypothesis follow from a premise? (Park et al. 2021).

    bertjax finetune configs/finetune/klue_nli.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are `premise`, `hypothesis` and `label`. The published files are JSON arrays, whose
label is `gold_label`; as JSON Lines they do with `--task.label=gold_label`:

    python -c "import json, sys; [print(json.dumps(row)) for row in json.load(open(sys.argv[1]))]" \
        klue-nli-v1.1_train.json > train.jsonl

Scored by accuracy; the three labels are equally common.

Learning rate and epochs are for a model of BERT-base's size. Measured with `korean_four_layers` (4
layers of 256), one seed, `--optimizer.learning_rate=1e-4 --train.epochs=6`: 0.397, from scratch
0.360; at 5e-4 it stayed at 0.333, a label's share.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(
            text="premise",
            second="hypothesis",
            labels=("entailment", "neutral", "contradiction"),
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )

"""BERT-base for Korean with a SentencePiece vocabulary of 8,002, the size of KoBERT's.

    bertjax prepare --corpus ko.txt.gz --tokenizer sentencepiece --vocab-size 8002 --output DATA
    bertjax pretrain configs/korean_base.py --data DATA --run RUN

Another size of vocabulary: `--model.vocab_size=none` takes the data's. The schedule is that of
`base_two_phase.py`.
"""

import dataclasses

from bertjax.config import Config, load_config


def get_config() -> Config:
    config = load_config("base_two_phase")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=8_002))

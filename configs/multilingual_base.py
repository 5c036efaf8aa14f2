"""BERT-base over many languages: the size of Google's multilingual cased model.

    bertjax prepare --corpus 'text/*.txt.gz' --cased --vocab-size 119547 --output DATA
    bertjax pretrain configs/multilingual_base.py --data DATA --run RUN

119,547 pieces (google-research/bert, multilingual.md); the schedule is that of `base_two_phase.py`.
"""

import dataclasses

from bertjax.config import Config, load_config


def get_config() -> Config:
    config = load_config("base_two_phase")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=119_547))

"""What a labelled task is: the columns of its files, its labels, and how it is scored."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Classification:
    """One of several labels for a text or a pair of texts (Devlin et al. 2018, section 4.1)."""

    kind: Literal["classification"] = "classification"
    text: str = "sentence"  # the column of the text
    second: str | None = None  # the column of the text that follows it
    label: str = "label"
    labels: tuple[str, ...] = ()  # in the outputs' order; empty: the file's, sorted
    class_weights: Literal["none", "balanced"] = "none"  # balanced: each class counts the same
    label_weights: tuple[float, ...] = ()  # in the loss; empty: as class_weights says
    metric: Literal["accuracy", "f1", "macro_f1", "matthews"] = "accuracy"  # picks the best step


@dataclass(frozen=True)
class Regression:
    """A number for a text or a pair of texts, such as how alike they are."""

    kind: Literal["regression"] = "regression"
    text: str = "sentence1"
    second: str | None = "sentence2"
    label: str = "score"
    metric: Literal["pearson", "spearman"] = "spearman"


@dataclass(frozen=True)
class Tagging:
    """A BIO label for every word or character (section 5.3)."""

    kind: Literal["tagging"] = "tagging"
    layout: Literal["conll", "klue"] = "conll"  # a word per line, or a character (spaces too)
    column: int = -1  # of the label, from 0; -1 is the last
    labels: tuple[str, ...] = ()  # empty: the training file's
    context: int = 0  # tokens of the sentences around, on either side; they are not labelled
    metric: Literal["f1", "macro_f1", "accuracy"] = "f1"  # macro_f1: the types' mean


@dataclass(frozen=True)
class QuestionAnswering:
    """The span of a context that answers a question (sections 4.2 and 4.3)."""

    kind: Literal["question_answering"] = "question_answering"
    rules: Literal["squad", "korquad"] = "squad"  # whose exact match and F1
    unanswerable: bool = False  # SQuAD 2.0: there may be no answer
    stride: int = 128  # tokens from one window of a long context to the next
    max_question_tokens: int = 64
    max_answer_tokens: int = 30
    n_best: int = 20
    null_threshold: float = 0.0  # how much better no answer must be; found on dev after training
    particles: tuple[str, ...] = ()  # what an answer's last piece may end in that is no part of it
    metric: Literal["f1", "exact_match"] = "f1"


TaskConfig = Classification | Regression | Tagging | QuestionAnswering

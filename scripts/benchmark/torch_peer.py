"""BERT's pretraining step by Hugging Face and PyTorch, with the vocabulary head gathered.

What the benchmarks compare with; it computes the vocabulary at the predicted positions alone, as
bertjax does, which `BertForPreTraining` by itself does not. Needs torch, transformers and numpy.
"""

from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from bertjax.config import OptimizerConfig

NOT_PREDICTED = -100  # a label that does not count: torch's own ignore_index


def pretraining_loss(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Masked-token plus next-sentence loss.

    Args:
        model: a `BertForPreTraining`.
        inputs: int64 `token_ids`, `segment_ids`, `position_ids` [batch, length]; `positions` and
            `labels` [batch, predictions], the latter `NOT_PREDICTED` where nothing is predicted;
            `starts` and `next_sentence_labels` [batch, pairs], the latter -1 for an absent pair;
            optionally bool `visible` [batch, 1, length, length], without which all see all.
    """
    cross_entropy = torch.nn.functional.cross_entropy
    hidden = model.bert(
        input_ids=inputs["token_ids"],
        token_type_ids=inputs["segment_ids"],
        position_ids=inputs["position_ids"],
        attention_mask=inputs.get("visible"),
    ).last_hidden_state
    at_masks = _gather(hidden, inputs["positions"]).flatten(0, 1)
    logits = model.cls.predictions(at_masks).float()
    mlm = cross_entropy(logits, inputs["labels"].flatten(), ignore_index=NOT_PREDICTED)
    first = _gather(hidden, inputs["starts"]).flatten(0, 1)[:, None]
    next_logits = model.cls.seq_relationship(model.bert.pooler(first)).float()
    next_labels = inputs["next_sentence_labels"].flatten()
    return mlm + cross_entropy(next_logits, next_labels, ignore_index=-1)


def adamw(model: Any, settings: OptimizerConfig) -> torch.optim.AdamW:
    """PyTorch's fastest AdamW; matrices and tables decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )


def update(model: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip: float) -> None:
    """Backward, clipping by the global norm, and the optimizer's step."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def tensor(array: Any, device: str = "cpu") -> torch.Tensor:
    """int64, whatever integers came in."""
    return torch.from_numpy(np.array(array)).long().to(device)


def _gather(hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """[batch, length, hidden] at [batch, count] to [batch, count, hidden]."""
    return hidden.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[-1]))

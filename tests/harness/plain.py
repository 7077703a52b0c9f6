"""What transformers and PEFT compute for one text at a time, without peft-assay."""

import torch


def plain_scores(model, row, start=None):
    """Log-probabilities at a row's continuation, shape (tokens, vocabulary)."""
    with torch.inference_mode():
        if start is None:
            tokens = torch.tensor([[*row.context, *row.continuation]])
            logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0]
            return logits[-len(row.continuation) - 1 : -1].log_softmax(-1)
        tokens = torch.tensor([row.context])
        spoken = torch.tensor([[start, *row.continuation[:-1]]])
        output = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), decoder_input_ids=spoken)
        return output.logits[0].log_softmax(-1)


def plain_likelihood(model, row, start=None):
    scores = plain_scores(model, row, start)
    return sum(float(scores[at, token]) for at, token in enumerate(row.continuation))


def plain_answer(model, tokens, limit, *, encoder=False):
    inputs = torch.tensor([tokens])
    with torch.inference_mode():
        output = model.generate(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=limit, do_sample=False
        )
    return tuple(output[0, 1 if encoder else len(tokens) :].tolist())

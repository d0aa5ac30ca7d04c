# SPDX-License-Identifier: Apache-2.0
"""How likely a PixelRefer model is to answer a question about an object in given words."""

import torch
from torch import Tensor

from pixelrefer_model.language import Evidence, LanguageModel, compose


@torch.inference_mode()
def log_likelihood(language: LanguageModel, question: str, objects: Tensor, answer: str) -> Tensor:
    """Log probability, float32 [R], that the whole answer is `answer`, its end included.

    question: about one object, which it may name `<object1>`. objects: object tokens [R, K, D],
    each asked about alone. One pass for all of them, in which the answer is given (teacher
    forcing). Raises PixelReferError SPECIAL_TOKEN, EMPTY_QUESTION or QUESTION_TOO_LONG.
    """
    if not len(objects):
        return torch.zeros(0)
    model, tokenizer = language.model, language.tokenizer
    prompt = compose(question, [Evidence('it', objects[0][None])])
    language.check(prompt)
    asked = tokenizer.encode(prompt.text)
    ids = tokenizer.encode(prompt.text + answer) + [tokenizer.end_id]
    row = torch.tensor(ids, device=model.device)
    logits = model(row.expand(len(objects), -1), objects.flatten(0, 1).to(model.device))
    # the scores at a place are of the token after it
    said = logits[:, len(asked) - 1:-1].float().log_softmax(-1)
    return said.gather(2, row[len(asked):].expand(len(objects), -1)[..., None]).sum((1, 2)).cpu()

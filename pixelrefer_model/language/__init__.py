# SPDX-License-Identifier: Apache-2.0
"""Prompts and answers: chat text, task prompts, tokenizer, prefill and decode."""

from pixelrefer_model.language.chat import (
    Evidence, RenderedPrompt, chat_text, compose, mentions)
from pixelrefer_model.language.generate import Generation, LanguageModel, TokenEvent, collect
from pixelrefer_model.language.tasks import TASKS, task_prompt
from pixelrefer_model.language.tokenizer import Tokenizer

__all__ = ['Evidence', 'Generation', 'LanguageModel', 'RenderedPrompt', 'TASKS', 'TokenEvent',
           'Tokenizer', 'chat_text', 'collect', 'compose', 'mentions', 'task_prompt']

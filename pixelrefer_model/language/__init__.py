# SPDX-License-Identifier: Apache-2.0
"""Prompts and answers: chat text, task prompts, tokenizer, prefill and decode."""

from pixelrefer_model.language.cache import KeepPrefixes
from pixelrefer_model.language.chat import (
    Evidence, RenderedPrompt, chat_text, compose, mentions)
from pixelrefer_model.language.events import Generation, TokenEvent
from pixelrefer_model.language.generate import LanguageModel, collect
from pixelrefer_model.language.graphs import CudaGraphs, Eager
from pixelrefer_model.language.sampling import Greedy, Sample
from pixelrefer_model.language.tasks import TASKS, task_prompt
from pixelrefer_model.language.tokenizer import Tokenizer

__all__ = ['CudaGraphs', 'Eager', 'Evidence', 'Generation', 'Greedy', 'KeepPrefixes',
           'LanguageModel', 'RenderedPrompt', 'Sample', 'TASKS', 'TokenEvent', 'Tokenizer',
           'chat_text', 'collect', 'compose', 'mentions', 'task_prompt']

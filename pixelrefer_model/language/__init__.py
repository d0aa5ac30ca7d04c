# SPDX-License-Identifier: Apache-2.0
"""Prompts and answers: chat text, task prompts, tokenizer, prefill and decode."""

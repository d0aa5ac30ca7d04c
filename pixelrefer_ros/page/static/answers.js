// SPDX-License-Identifier: Apache-2.0
// Answers, the newest on top, each with its text as it comes.

import {element} from './objects.js';

const MOST = 50;   // cards that are kept

export class Answers {
  constructor(list) {
    this.list = list;
  }

  // A card. cancel: what its button does, null for none.
  begin(question, cancel) {
    const card = element('li', '', {className: 'doing'});
    const text = element('p', '', {className: 'text'});
    const note = element('small', 'waiting');
    card.append(element('p', question, {className: 'asked'}), text, note);
    const button = element('button', 'Cancel', {type: 'button', onclick: cancel});
    if (cancel) card.append(button);
    this.list.prepend(card);
    while (this.list.children.length > MOST) this.list.lastChild.remove();
    const end = (kind, words) => {
      button.remove();
      card.className = kind;
      note.textContent = words;
    };
    return {
      text(words) {
        text.textContent = words;
        note.textContent = 'answering';
      },
      done(answer) {
        text.textContent = answer.text;
        end(answer.abstained ? 'unsure' : 'done', [
          answer.about.join(', '), `confidence ${answer.confidence.toFixed(2)}`,
          answer.reason === 'length' ? 'cut off at its longest' : ''].filter(Boolean).join(' \u00b7 '));
      },
      failed({code, message}) {
        end(code === 'CANCELLED' ? 'cancelled' : 'failed', [code, message].filter(Boolean).join(': '));
      },
    };
  }
}

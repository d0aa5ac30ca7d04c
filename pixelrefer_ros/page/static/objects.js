// SPDX-License-Identifier: Apache-2.0
// The list of objects. Rows stay as long as their object does: focus and clicks are not lost.

// An element with text, never with HTML: what a model or a node says is shown, not interpreted.
export function element(kind, text = '', values = {}) {
  return Object.assign(document.createElement(kind), {textContent: text}, values);
}

export class Objects {
  // on: {selected(id), describe(id), name(id), remove(id)}
  constructor(list, on) {
    this.list = list;
    this.on = on;
    this.rows = new Map();
    this.selected = '';
  }

  show(objects) {
    const ids = new Set(objects.map(({id}) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
      if (this.selected === id) this.select('');
    }
    for (const one of objects) {
      const row = this.rows.get(one.id) ?? this.add(one.id);
      row.swatch.style.background = one.colour;
      const seen = one.state === 'tracked' || one.state === 'uncertain';
      row.state.textContent = seen ? `${one.state} ${one.score.toFixed(2)}` : one.state;
      row.state.dataset.state = one.state;
    }
  }

  select(id) {
    if (this.selected === id) return;
    this.rows.get(this.selected)?.item.classList.remove('selected');
    this.selected = id;
    const row = this.rows.get(id);
    if (row) {
      row.radio.checked = true;
      row.item.classList.add('selected');
    }
    this.on.selected(id);
  }

  add(id) {
    const row = {
      item: element('li'), swatch: element('i', '', {className: 'swatch'}),
      radio: element('input', '', {type: 'radio', name: 'object'}),
      state: element('span', '', {className: 'badge', title: 'how it is seen, and how sure the tracker is'})};
    const label = element('label');
    // A second click lets go of it: questions are about all objects again.
    row.radio.addEventListener('click', () => {
      if (this.selected === id) row.radio.checked = false;
      this.select(this.selected === id ? '' : id);
    });
    label.append(row.radio, row.swatch, element('b', id));
    const button = (text, title, act) => {
      const made = element('button', text, {type: 'button', title, onclick: () => act(id)});
      made.setAttribute('aria-label', `${title}: ${id}`);
      return made;
    };
    const actions = element('span', '', {className: 'actions'});
    actions.append(button('Describe', 'Describe it', this.on.describe),
                   button('@', 'Name it in the question', this.on.name),
                   button('\u00d7', 'Remove it', this.on.remove));
    row.item.append(label, row.state, actions);
    this.list.append(row.item);
    this.rows.set(id, row);
    return row;
  }
}

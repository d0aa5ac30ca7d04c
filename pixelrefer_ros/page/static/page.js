// SPDX-License-Identifier: Apache-2.0
// The page: what its parts do with one another.

import {Answers} from './answers.js';
import {Objects} from './objects.js';
import {Picture} from './picture.js';
import {Wire} from './wire.js';

const STALE_MS = 3000;    // without a new picture for so long: said to the person
const HINTS = {
  new: 'Click on an object, or drag a box round it.',
  on: 'Click on a part that belongs to {} and is not marked.',
  off: 'Click on a part that is marked and does not belong to {}.'};
const KEYS = ' Keys on the picture: arrows aim, Enter clicks, b begins a box; 1, 2, 3 choose what a click does, h holds the picture.';
const at = (id) => document.getElementById(id);

let camera = null;        // the one that is shown; null: not told yet
let status = null;        // what the server said last of the node
let lastShown = 0;        // when the last frame came
let online = false;
let reason = '';

const mode = () => document.querySelector('input[name=mode]:checked').value;

// --- what is said to the person

function say(text, failed = false) {
  at('said').textContent = text;
  at('said').className = failed ? 'failed' : '';
}

function words({code, message}) {
  return code ? `${code}: ${message}` : message;
}

function seconds(stamp) {
  return `${stamp.slice(0, -9) || '0'}.${stamp.padStart(10, '0').slice(-9, -6)} s`;
}

function tellState() {
  const quiet = performance.now() - lastShown;
  const [state, label, trouble] = !online
    ? ['absent', 'not connected', reason || 'The page has lost its server (pixelrefer click). It connects again by itself.']
    : status === null ? ['absent', 'connecting', '']
    : status.state === 'absent' ? ['absent', 'no node', `${status.node} is not to be found: ${status.message}. Is it running, and is ROS_DOMAIN_ID the same?`]
    : status.state === 'inactive' ? ['inactive', 'not active', words(status)]
    : !lastShown ? ['quiet', 'no picture', 'The node is active, and no picture has come of this camera yet.']
    : quiet > STALE_MS ? ['quiet', 'picture stands still', `No new picture for ${Math.round(quiet / 1000)} s. Does the camera send?`]
    : ['active', 'live', ''];
  const pill = at('state');
  if (pill.dataset.state !== state) pill.dataset.state = state;
  if (pill.lastChild.textContent !== label) pill.lastChild.textContent = label;
  pill.title = status?.node ?? '';
  if (at('trouble').textContent !== trouble) at('trouble').textContent = trouble;
  at('trouble').hidden = !trouble;
}

function tellMode() {
  const chosen = objects.selected;
  for (const input of document.querySelectorAll('input[name=mode]')) input.disabled = input.value !== 'new' && !chosen;
  if (mode() !== 'new' && !chosen) document.querySelector('input[name=mode]').checked = true;
  at('name').disabled = mode() !== 'new';
  at('hint').textContent = HINTS[mode()].replace('{}', chosen) + KEYS;
  tellAbout();
}

function tellAbout() {
  const named = /<object:/.test(at('words').value);
  at('about').textContent = named ? 'about what it names' : objects.selected ? `about ${objects.selected}` : 'about all objects';
}

function choose(value) {
  const input = document.querySelector(`input[name=mode][value=${value}]`);
  if (input.disabled) say('Choose an object in the list first.', true);
  else input.checked = true;
  tellMode();
}

// --- what the person does

async function picked(where) {
  const [how, id] = [mode(), objects.selected];
  if (how !== 'new' && where.box) {
    say('A correction is a click, not a box.', true);
    return;
  }
  const asked = how === 'new' ? {do: 'select', id: at('name').value.trim(), ...where}
    : {do: 'correct', id, label: how === 'on' ? 1 : 0, ...where};
  say(`${how === 'new' ? 'Selecting' : `Correcting ${id}`} on the picture of ${seconds(where.stamp)} \u2026`);
  const {error, result} = await wire.ask(asked).reply;
  if (error) {
    say(words(error), true);
    return;
  }
  say(`${result.id} ${how === 'new' ? 'selected' : 'corrected'} on the picture of ${seconds(result.stamp_used)}.`);
  at('said').dataset.stamp = result.stamp_used;
  if (how === 'new') at('name').value = '';
}

function ask(event) {
  event.preventDefault();
  const question = at('words').value.trim();
  if (!question) return;
  const ids = !/<object:/.test(question) && objects.selected ? [objects.selected] : [];
  let number = 0;
  const card = answers.begin(question, () => wire.say({do: 'cancel', request: number}));
  const request = wire.ask({do: 'ask', question, ids}, card.text);
  number = request.number;
  request.reply.then(({error, result}) => error ? card.failed(error) : card.done(result));
  at('words').value = '';
  tellAbout();
}

async function describe(...ids) {
  const detail = at('detail').value;
  const card = answers.begin(ids.length ? `Describe ${ids.join(', ')}` : 'Describe all', null);
  const {error, result} = await wire.ask({do: 'describe', ids, detail}).reply;
  if (error) {
    card.failed(error);
    return;
  }
  const said = result.answers.map(({about, text, error: wrong}) => ids.length === 1 ? wrong || text : `${about.join(', ')}: ${wrong || text}`);
  if (result.answers.every((one) => one.error)) {
    card.failed({code: '', message: said.join('\n')});
    return;
  }
  card.done({text: said.join('\n'), about: ids, reason: '', abstained: result.answers.every((one) => one.abstained),
             confidence: Math.min(...result.answers.map((one) => one.confidence))});
}

async function remove(id) {
  const {error} = await wire.ask({do: 'remove', ids: [id]}).reply;
  say(error ? words(error) : `${id} removed.`, Boolean(error));
}

function name(id) {
  const box = at('words');
  box.setRangeText(`<object:${id}>`, box.selectionStart, box.selectionEnd, 'end');
  box.focus();
  tellAbout();
}

function watch(wanted) {
  camera = wanted;
  lastShown = 0;
  objects.show([]);
  at('veil').hidden = false;
  wire.say({do: 'watch', camera});
}

function tellCameras({cameras}) {
  const chooser = at('camera');
  at('cameras').hidden = cameras.length < 2;
  if ([...chooser.options].map((one) => one.value).join() !== cameras.join()) {
    chooser.replaceChildren(...cameras.map((one) => new Option(one, one)));
  }
  if (!cameras.includes(camera)) watch(cameras[0]);
  chooser.value = camera;
}

// --- what comes from the server

const objects = new Objects(at('objects'), {selected: tellMode, describe, name, remove});
const answers = new Answers(at('answers'));
const picture = new Picture(at('picture'), picked);
const wire = new Wire({
  open() {
    [online, reason, status] = [true, '', null];
    if (camera !== null) wire.say({do: 'watch', camera});
    tellState();
  },
  closed(why) {
    [online, reason] = [false, why && `The server closed the connection: ${why}.`];
    tellState();
  },
  async frame(header, jpeg) {
    if (header.camera !== camera || !await picture.show(header, jpeg)) return;
    lastShown = performance.now();
    at('veil').hidden = true;
    tellState();
  },
  hello(message) {
    camera ??= message.camera;
  },
  status(message) {
    status = message;
    if (message.cameras.length) tellCameras(message);
    tellState();
  },
  objects({objects: list}) {
    objects.show(list);
    at('none').hidden = list.length > 0;
    at('count').textContent = list.length || '';
    at('describe-all').disabled = !list.length;
  },
  event({fault, message}) {
    say(fault ? message : `Time began anew (${message}): objects are to be selected again.`, fault);
  },
});

at('ask').addEventListener('submit', ask);
at('words').addEventListener('input', tellAbout);
at('words').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) ask(event);
});
at('tools').addEventListener('submit', (event) => event.preventDefault());
at('tools').addEventListener('change', tellMode);
at('hold').addEventListener('change', () => { picture.held = at('hold').checked; });
at('describe-all').addEventListener('click', () => describe());
at('camera').addEventListener('change', () => watch(at('camera').value));
at('picture').addEventListener('keydown', ({key}) => {
  if ('123'.includes(key)) choose(['new', 'on', 'off'][key - 1]);
  if (key === 'h') at('hold').click();
});
tellMode();
setInterval(tellState, 1000);

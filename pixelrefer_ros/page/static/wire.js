// SPDX-License-Identifier: Apache-2.0
// The WebSocket to the page's server: connects again by itself, matches replies to requests.

const AGAIN_MS = 1000;

export class Wire {
  // on: {open(), closed(reason), frame(header, jpeg), status(m), objects(m), event(m)}. A frame is
  // acknowledged when the promise that on.frame gives is settled: only then comes the next one.
  constructor(on) {
    this.on = on;
    this.waiting = new Map();
    this.number = 0;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/socket`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => this.on.open();
    this.socket.onmessage = ({data}) => typeof data === 'string' ? this.told(JSON.parse(data)) : this.frame(data);
    this.socket.onclose = ({reason}) => {
      for (const [, request] of this.waiting) request.done({error: {code: '', message: 'the connection was lost'}});
      this.waiting.clear();
      this.on.closed(reason);
      setTimeout(() => this.connect(), AGAIN_MS);
    };
  }

  async frame(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    try {
      await this.on.frame(header, new Blob([new Uint8Array(data, 4 + length)], {type: 'image/jpeg'}));
    } finally {
      this.say({do: 'shown'});
    }
  }

  told(message) {
    if (message.kind === 'text') this.waiting.get(message.request)?.text(message.text);
    else if (message.kind === 'reply') {
      const request = this.waiting.get(message.request);
      this.waiting.delete(message.request);
      request?.done(message);
    } else this.on[message.kind]?.(message);
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Send a request; gives its number, and the promise of {result} or {error: {code, message}}.
  ask(message, text = () => {}) {
    const number = ++this.number;
    const reply = new Promise((done) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        done({error: {code: '', message: 'the page is not connected'}});
        return;
      }
      this.waiting.set(number, {text, done});
      this.say({...message, request: number});
    });
    return {number, reply};
  }
}

// SPDX-License-Identifier: Apache-2.0
// The picture: shows frames, and says where on which of them a person clicked or drew a box.

const DRAG_PX = 6;   // on the screen; less is a click with an unsteady hand
const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

export class Picture {
  // picked({camera, stamp, point} or {camera, stamp, box}): in pixels of the frame of that stamp.
  constructor(canvas, picked) {
    this.canvas = canvas;
    this.picked = picked;
    this.context = canvas.getContext('2d');
    this.image = null;       // the frame that is on the screen
    this.header = null;      // ... and of which camera and stamp it is
    this.held = false;       // a person wants it to stay
    this.drag = null;        // {from, to, moved}: a box that is being drawn
    this.cursor = null;      // [x, y]: the crosshair of the arrow keys
    this.corner = null;      // [x, y]: the first corner of its box
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerup', (event) => this.up(event));
    canvas.addEventListener('pointercancel', () => this.end());
    canvas.addEventListener('keydown', (event) => this.key(event));
    canvas.addEventListener('blur', () => this.clear());
  }

  // The frame stays while a box is drawn: what is clicked on is what was seen.
  get still() {
    return this.held || this.drag !== null || this.corner !== null;
  }

  async show(header, jpeg) {
    const image = await createImageBitmap(jpeg);
    if (this.still) {
      image.close();
      return false;
    }
    this.image?.close();
    [this.image, this.header] = [image, header];
    if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
      [this.canvas.width, this.canvas.height] = [image.width, image.height];
      this.canvas.style.setProperty('--aspect', image.width / image.height);
    }
    this.canvas.dataset.stamp = header.stamp;
    this.draw();
    return true;
  }

  draw() {
    const {context, canvas} = this;
    if (this.image) context.drawImage(this.image, 0, 0);
    const unit = canvas.width / Math.max(1, canvas.clientWidth);   // one pixel of the screen
    const from = this.drag?.moved ? this.drag.from : this.corner;
    const to = this.drag?.moved ? this.drag.to : this.cursor;
    for (const [style, width] of [['#000c', 4], ['#fff', 2]]) {
      [context.strokeStyle, context.lineWidth] = [style, width * unit];
      context.beginPath();
      if (from && to) context.rect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
      if (this.cursor) {
        const [[x, y], arm] = [this.cursor, 14 * unit];
        context.moveTo(x - arm, y);
        context.lineTo(x + arm, y);
        context.moveTo(x, y - arm);
        context.lineTo(x, y + arm);
      }
      context.stroke();
    }
  }

  place(event) {
    const {canvas} = this;
    const box = canvas.getBoundingClientRect();
    return [Math.min(canvas.width, Math.max(0, (event.clientX - box.left) * canvas.width / box.width)),
            Math.min(canvas.height, Math.max(0, (event.clientY - box.top) * canvas.height / box.height))];
  }

  down(event) {
    if (event.button !== 0 || !event.isPrimary || !this.image) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.clear();
    this.drag = {from: this.place(event), at: [event.clientX, event.clientY], moved: false};
    this.drag.to = this.drag.from;
  }

  move(event) {
    if (!this.drag || !event.isPrimary) return;
    const [x, y] = this.drag.at;
    this.drag.moved ||= Math.hypot(event.clientX - x, event.clientY - y) > DRAG_PX;
    this.drag.to = this.place(event);
    this.draw();
  }

  up(event) {
    if (!this.drag || !event.isPrimary) return;
    this.move(event);
    const {from, to, moved} = this.drag;
    this.end();
    this.pick(from, moved ? to : null);
  }

  end() {
    this.drag = null;
    this.draw();
  }

  clear() {
    this.cursor = this.corner = null;
    this.draw();
  }

  key(event) {
    const step = KEYS[event.key];
    if (!this.image || event.ctrlKey || event.metaKey || event.altKey) return;
    const {width, height} = this.canvas;
    if (step) {
      const size = event.shiftKey ? 1 : Math.max(1, Math.round(width / 50));
      const [x, y] = this.cursor ?? [width / 2, height / 2];
      this.cursor = [Math.min(width - 1, Math.max(0, x + size * step[0])),
                     Math.min(height - 1, Math.max(0, y + size * step[1]))];
    } else if (event.key === 'Enter' && this.cursor) {
      const [from, to] = this.corner ? [this.corner, this.cursor] : [this.cursor, null];
      this.corner = null;
      this.pick(from, to);
    } else if (event.key === 'b' && this.cursor) this.corner = this.cursor;
    else if (event.key === 'Escape') this.cursor = this.corner = null;
    else return;
    event.preventDefault();
    this.draw();
  }

  pick(from, to) {
    const {camera, stamp} = this.header;
    if (!to) this.picked({camera, stamp, point: from});
    else {
      const [[x0, x1], [y0, y1]] = [0, 1].map((axis) => [from[axis], to[axis]].sort((a, b) => a - b));
      this.picked({camera, stamp, box: [x0, y0, x1, y1]});
    }
  }
}

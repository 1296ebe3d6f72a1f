// A drawing pad for pointer, touch and keyboard. After each stroke it sends the ink to the page, one byte a dot. `data`:
// width and height of the picture in pixels, `fine` dots for each side of a pixel, the `start` ink of the sheet `number`,
// a `label`, and the `theme`, whose change makes the pad read its colours again.

const MAX_UNDO = 30;
// Wait for further keys, since each message makes a prediction.
const KEY_PAUSE_MS = 200;
// Stroke width as a share of the picture's longer side.
const STROKE = 1 / 8;
const pads = new WeakMap();

export default function (component) {
  const { parentElement } = component;
  if (!pads.has(parentElement)) pads.set(parentElement, new Pad(parentElement));
  pads.get(parentElement).show(component);
}

class Pad {
  constructor(root) {
    const find = (name) => root.querySelector(name);
    this.sheet = find(".sheet");
    this.status = find(".status");
    this.pen = find(".pen");
    this.eraser = find(".eraser");
    this.ink = document.createElement("canvas");
    this.brush = this.ink.getContext("2d", { willReadFrequently: true });
    this.past = [];
    this.cell = null;
    this.erasing = false;
    this.sheet.addEventListener("pointerdown", (event) => this.press(event));
    this.sheet.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.sheet.addEventListener(name, () => this.lift());
    this.sheet.addEventListener("keydown", (event) => this.key(event));
    this.sheet.addEventListener("blur", () => this.draw());
    this.sheet.addEventListener("focus", () => this.draw());
    this.pen.addEventListener("click", () => this.choose(false));
    this.eraser.addEventListener("click", () => this.choose(true));
    find(".undo").addEventListener("click", () => this.undo());
    find(".clear").addEventListener("click", () => this.clear());
    new ResizeObserver(() => this.draw()).observe(this.sheet);
  }

  show({ data, setStateValue }) {
    this.send = setStateValue;
    const fresh = !this.data || this.data.number !== data.number;
    this.data = data;
    this.sheet.setAttribute("aria-label", data.label);
    if (fresh) {
      this.ink.width = data.width * data.fine;
      this.ink.height = data.height * data.fine;
      this.sheet.style.aspectRatio = `${data.width} / ${data.height}`;
      this.past = [];
      this.cell = { x: Math.floor(data.width / 2), y: Math.floor(data.height / 2) };
      this.put(data.start);
    }
    // Streamlit applies the theme's colours after this call.
    requestAnimationFrame(() => this.draw());
  }

  // --- ink -------------------------------------------------------------------------------------------------------
  put(text) {
    const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const image = this.brush.createImageData(this.ink.width, this.ink.height);
    for (let i = 0; i < bytes.length; i++) image.data[i * 4 + 3] = bytes.charCodeAt(i);
    this.brush.putImageData(image, 0, 0);
  }

  pack() {
    const { data } = this.brush.getImageData(0, 0, this.ink.width, this.ink.height);
    let bytes = "";
    for (let i = 3; i < data.length; i += 4) bytes += String.fromCharCode(data[i]);
    return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  }

  remember() {
    this.past.push(this.brush.getImageData(0, 0, this.ink.width, this.ink.height));
    if (this.past.length > MAX_UNDO) this.past.shift();
  }

  changed(pause = 0) {
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send("drawing", { number: this.data.number, ink: this.pack() }), pause);
  }

  undo() {
    if (!this.past.length) return;
    this.brush.putImageData(this.past.pop(), 0, 0);
    this.say("undone");
    this.changed();
  }

  clear() {
    this.remember();
    this.brush.clearRect(0, 0, this.ink.width, this.ink.height);
    this.say("cleared");
    this.changed();
  }

  choose(erasing) {
    this.erasing = erasing;
    this.pen.setAttribute("aria-pressed", String(!erasing));
    this.eraser.setAttribute("aria-pressed", String(erasing));
  }

  // --- pointer and touch -----------------------------------------------------------------------------------------
  press(event) {
    if (event.button || this.last) return;
    event.preventDefault();
    this.sheet.focus({ preventScroll: true });
    this.byPointer = true;
    this.sheet.setPointerCapture(event.pointerId);
    this.remember();
    this.last = this.place(event);
    this.line(this.last);
  }

  move(event) {
    if (!this.last) return;
    // The browser merges moves; without the merged ones, quick strokes have corners.
    const between = event.getCoalescedEvents?.() ?? [];
    for (const one of between.length ? between : [event]) this.line(this.place(one));
  }

  lift() {
    if (!this.last) return;
    this.last = null;
    this.changed();
  }

  place(event) {
    const box = this.sheet.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.ink.width,
      y: ((event.clientY - box.top) / box.height) * this.ink.height,
    };
  }

  line(to) {
    const { brush } = this;
    brush.globalCompositeOperation = this.erasing ? "destination-out" : "source-over";
    brush.lineWidth = Math.max(this.ink.width, this.ink.height) * STROKE * (this.erasing ? 1.5 : 1);
    brush.lineCap = brush.lineJoin = "round";
    brush.strokeStyle = "#000";
    brush.beginPath();
    brush.moveTo(this.last.x, this.last.y);
    brush.lineTo(to.x, to.y);
    brush.stroke();
    brush.globalCompositeOperation = "source-over";
    this.last = to;
    this.draw();
  }

  // --- keyboard --------------------------------------------------------------------------------------------------
  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.byPointer = false;
    if (event.key in steps && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const [x, y] = steps[event.key];
      this.cell.x = Math.min(Math.max(this.cell.x + x, 0), this.data.width - 1);
      this.cell.y = Math.min(Math.max(this.cell.y + y, 0), this.data.height - 1);
      if (event.shiftKey) this.fill(!this.erasing);
    } else if (event.key === " " || event.key === "Enter") {
      this.fill(!this.filled());
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.fill(false);
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
    this.say(`row ${this.cell.y + 1}, column ${this.cell.x + 1}, ${this.filled() ? "ink" : "empty"}`);
    this.draw();
  }

  square() {
    const { fine } = this.data;
    return [this.cell.x * fine, this.cell.y * fine, fine, fine];
  }

  filled() {
    const { data } = this.brush.getImageData(...this.square());
    let sum = 0;
    for (let i = 3; i < data.length; i += 4) sum += data[i];
    return sum > (data.length / 4) * 127;
  }

  fill(full) {
    this.remember();
    this.brush.clearRect(...this.square());
    this.brush.fillStyle = "#000";
    if (full) this.brush.fillRect(...this.square());
    this.changed(KEY_PAUSE_MS);
  }

  say(text) {
    this.status.textContent = text;
  }

  // --- drawing ---------------------------------------------------------------------------------------------------
  draw() {
    const { sheet, data } = this;
    if (!data) return;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(sheet.clientWidth * scale);
    const height = Math.round(sheet.clientHeight * scale);
    if (!width || !height) return;
    if (sheet.width !== width) sheet.width = width;
    if (sheet.height !== height) sheet.height = height;
    const view = sheet.getContext("2d");
    const style = getComputedStyle(sheet);
    view.clearRect(0, 0, width, height);
    view.drawImage(this.ink, 0, 0, width, height);
    view.globalCompositeOperation = "source-in";
    view.fillStyle = style.color;
    view.fillRect(0, 0, width, height);
    view.globalCompositeOperation = "source-over";
    this.grid(view, width, height, style);
    if (sheet.matches(":focus") && !this.byPointer) this.cursor(view, width, height, style);
  }

  grid(view, width, height, style) {
    const { data } = this;
    if (Math.max(data.width, data.height) > 32) return;
    view.strokeStyle = style.color;
    view.globalAlpha = 0.12;
    view.lineWidth = 1;
    view.beginPath();
    for (let x = 1; x < data.width; x++) {
      view.moveTo((x / data.width) * width, 0);
      view.lineTo((x / data.width) * width, height);
    }
    for (let y = 1; y < data.height; y++) {
      view.moveTo(0, (y / data.height) * height);
      view.lineTo(width, (y / data.height) * height);
    }
    view.stroke();
    view.globalAlpha = 1;
  }

  cursor(view, width, height, style) {
    const [column, row] = [width / this.data.width, height / this.data.height];
    view.strokeStyle = style.getPropertyValue("--st-primary-color") || style.color;
    view.lineWidth = Math.max(2, column / 12);
    view.strokeRect(this.cell.x * column + 1, this.cell.y * row + 1, column - 2, row - 2);
  }
}

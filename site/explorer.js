/* The explorer: a batch as a grid of numbers, and what each normalization does to it.
 *
 * Plain JavaScript and SVG, nothing fetched. First the arithmetic (as in model.py, and tested against
 * PyTorch), then the picture. It takes the place of what stands in an element of class
 * "norm-explorer"; without JavaScript that stays: a still picture.
 */
(function () {
  "use strict";

  // ------------------------------------------------------------------------------ arithmetic
  // A batch is flat, in the order image, channel, row, column; shape is [N, C, H, W].

  // The number of the mean that an element of image n and channel c uses.
  const MEAN_OF = {
    batch: (n, c) => c,
    group: (n, c, C, groups) => n * groups + Math.floor(c / (C / groups)),
    layer: (n) => n,
    instance: (n, c, C) => n * C + c,
    rms: (n) => n,
  };

  /* Normalize a batch: (x - mean) / sqrt(variance + eps), no gain and no bias.
   *
   * batch: {values, shape, norm, groups, eps}, and for batch norm in evaluation mode running:
   * {mean, variance}, one number per channel each. Returns index (which mean an element uses), mean
   * and variance (one number per mean), count (numbers that share it) and result. RMS norm
   * subtracts nothing: its mean is 0, its variance the mean of the squares.
   */
  function normalize({ values, shape, norm, groups = 1, eps, running = null }) {
    const [N, C, H, W] = shape;
    const size = H * W;
    const total = N * C * size;
    if (norm === "none") return { index: null, result: Float64Array.from(values) };
    const index = new Int32Array(total);
    for (let n = 0, i = 0; n < N; n++)
      for (let c = 0; c < C; c++)
        for (let p = 0; p < size; p++) index[i++] = MEAN_OF[norm](n, c, C, groups);
    const means = index[total - 1] + 1;
    const count = total / means;
    let mean = new Float64Array(means);
    let variance = new Float64Array(means);
    if (norm !== "rms") for (let i = 0; i < total; i++) mean[index[i]] += values[i] / count;
    for (let i = 0; i < total; i++) variance[index[i]] += (values[i] - mean[index[i]]) ** 2 / count;
    if (running && norm === "batch") ({ mean, variance } = running);
    const result = Float64Array.from(values, (x, i) =>
      (x - mean[index[i]]) / Math.sqrt(variance[index[i]] + eps));
    return { index, mean, variance, count, result };
  }

  /* Running statistics after one more batch: a tenth of the way; the variance unbiased. */
  function observe(running, { mean, variance, count }, momentum = 0.1) {
    const move = (old, seen) => old.map((x, c) => (1 - momentum) * x + momentum * seen[c]);
    return {
      mean: move(running.mean, mean),
      variance: move(running.variance, variance.map((v) => (v * count) / (count - 1))),
    };
  }

  // --------------------------------------------------------------------------------- numbers
  // The batch of notebook 00, and the same once more as 9 - x.
  const FIRST = [
    [4, 9, 3, 0, 3, 9, 7, 3], [7, 3, 1, 6, 6, 9, 8, 6],
    [6, 8, 4, 3, 6, 9, 1, 4], [4, 1, 9, 9, 9, 0, 1, 2],
  ].flatMap((image) => [...image, ...image.map((x) => 9 - x)]);

  function wholeNumbers(count, seed) { // 0 to 9, the same for the same seed
    let state = seed * 2654435761 + 12345;
    return Array.from({ length: count }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor(state / 2 ** 32 * 10);
    });
  }

  const minus = (text) => text.replace("-", "−");
  const long = (x) => minus(String(Number(x.toFixed(4)))); // for sentences
  const fine = (x) => (x < 0.01 ? x.toFixed(8).replace(/\.?0+$/, "") : long(x)); // epsilon, or beside it
  const short = (x) => (Math.abs(x) < 99.95 ? x.toFixed(1) : x.toPrecision(1)); // for a cell
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  // ------------------------------------------------------------------------- small helpers
  const SVG = "http://www.w3.org/2000/svg";
  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "g", "rect", "text", "path"].includes(tag);
    const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  let fields = 0;
  function labelled(label, control, ...more) { // a control with its name above it
    control.id = `norm-explorer-${++fields}`;
    return make("div", {}, make("label", { for: control.id }, label), ...more, control);
  }

  function choice(label, options, value, onChange) { // a list to choose from
    const select = make("select");
    const fill = (rows, chosen) => {
      select.replaceChildren(...rows.map(([v, text]) => make("option", { value: v }, text)));
      select.value = chosen;
    };
    fill(options, value);
    select.addEventListener("change", () => onChange(select.value));
    return { element: labelled(label, select), select, fill };
  }

  function button(text, onClick) {
    const element = make("button", { type: "button" }, text);
    element.addEventListener("click", onClick);
    return element;
  }

  const same = (numbers) => numbers.map((x) => [x, String(x)]);
  const NORMS = [["batch", "batch norm"], ["group", "group norm"], ["layer", "layer norm"],
    ["instance", "instance norm"], ["rms", "RMS norm"], ["none", "no norm"]];
  const CONTRASTS = [[1, "as it is"], [0.1, "10 %"], [0.01, "1 %"], [0.001, "0.1 %"],
    [0, "flat: one value"]];

  // ------------------------------------------------------------------------------ the explorer
  class Explorer {
    constructor(root) {
      Object.assign(this, { root, norm: "batch", groups: 2, eps: 1e-5, N: 4, C: 4, S: 2, seed: 0,
        evaluation: false, chosen: 0, pointed: null, cells: { input: [], result: [] } });
      this.root.replaceChildren(this.controls(), ...this.answers(), this.panels());
      this.newNumbers(FIRST);
      let width = 0; // drawn again where the page becomes wider or narrower
      new ResizeObserver(() => {
        if (this.root.clientWidth !== width) { width = this.root.clientWidth; this.draw(); }
      }).observe(this.root);
    }

    // ---- what stands around the numbers
    controls() {
      const shape = (name) => (value) => { this[name] = Number(value); this.newNumbers(); };
      this.groupChoice = choice("groups", same([1, 2, 4]), 2, (value) => {
        this.change(() => { this.groups = +value; }, `With ${plural(+value, "group")}`);
        this.draw(); });
      this.epsilon = make("input", { type: "range", min: -8, max: 0, step: 1, value: -5 });
      this.epsilonText = make("output", {}, "0.00001");
      this.epsilon.addEventListener("input", () => {
        this.eps = Number(`1e${this.epsilon.value}`);
        this.change(() => {}, `With epsilon ${fine(this.eps)}`);
      });
      this.mode = choice("batch norm's mode", [["training", "training"], ["evaluation", "evaluation"]],
        "training", (value) => {
          this.change(() => { this.evaluation = value === "evaluation"; }, `In ${value} mode`); });
      this.train = button("train on this batch", () => this.see(1));
      this.more = button("50 times", () => this.see(50));
      this.memory = make("span", { class: "memory" });
      return make("div", { class: "controls" },
        choice("norm", NORMS, this.norm, (value) => this.setNorm(value)).element,
        this.groupChoice.element,
        choice("images", same([1, 2, 4, 8, 16, 32]), this.N, shape("N")).element,
        choice("channels", same([1, 2, 4, 6, 8]), this.C, shape("C")).element,
        choice("rows, columns", same([1, 2, 3]), this.S, shape("S")).element,
        labelled("epsilon ", this.epsilon, this.epsilonText),
        button("new numbers", () => this.newNumbers()),
        make("div", { class: "modes" }, this.mode.element, this.train, this.more, this.memory));
    }

    panels() {
      this.svg = {};
      const panel = (name, title) => {
        const grid = this.svg[name] = make("svg", { role: "grid", class: `numbers ${name}` });
        const panel = make("div", { class: "panel" }, make("p", { class: "title" }, title), grid);
        panel.addEventListener("pointermove", (event) => this.point(event.target));
        panel.addEventListener("pointerleave", () => this.point(null));
        panel.addEventListener("click", (event) => {
          const cell = event.target.closest("[data-i]");
          if (cell) cell.focus();
        });
        panel.addEventListener("focusin", (event) => this.choose(Number(event.target.dataset.i)));
        panel.addEventListener("keydown", (event) => this.key(event, name));
        return panel;
      };
      return make("div", { class: "panels" }, panel("input", "input: x"),
        panel("result", "result: y"));
    }

    answers() {
      this.says = make("p", { class: "says", "aria-live": "polite" });
      this.formula = make("p", { class: "formula" });
      this.value = make("input", { type: "number", step: "any" });
      this.value.addEventListener("change", () => this.set(this.value.valueAsNumber));
      this.value.addEventListener("blur", () => this.tell()); // a text that is no number goes
      this.contrast = choice("contrast of its image", CONTRASTS, 1, (value) => this.flatten(value));
      this.effect = make("p", { class: "effect", "aria-live": "polite" });
      return [make("div", { class: "controls" },
        labelled("change x", this.value),
        button("one less", () => this.set(this.values[this.chosen] - 1)),
        button("one more", () => this.set(this.values[this.chosen] + 1)),
        this.contrast.element),
      make("div", { class: "answers" }, this.says, this.formula, this.effect)];
    }

    // ---- what can be changed
    setNorm(norm) {
      this.change(() => { this.norm = norm; }, `With ${NORMS.find((row) => row[0] === norm)[1]}`);
      this.draw(); // group norm draws its groups apart
    }

    newNumbers(values) {
      const count = this.N * this.C * this.S ** 2;
      this.values = Array.from(values || wholeNumbers(count, ++this.seed));
      this.base = this.values.slice();
      this.contrasts = Array(this.N).fill(1);
      this.seen = 0;
      this.running = { mean: Array(this.C).fill(0), variance: Array(this.C).fill(1) };
      this.chosen = 0;
      this.pointed = null; // that number may be gone
      this.changed = [];
      const divisors = [1, 2, 3, 4, 6, 8].filter((g) => this.C % g === 0);
      if (!divisors.includes(this.groups)) this.groups = divisors[Math.min(1, divisors.length - 1)];
      this.groupChoice.fill(same(divisors), this.groups);
      this.effect.textContent = "";
      this.compute();
      this.draw();
    }

    set(x) {
      if (!Number.isFinite(x)) return this.tell();
      this.change(() => { this.values[this.chosen] = this.base[this.chosen] = x; },
        `With x = ${long(x)} there`);
    }

    flatten(contrast) { // the chosen image's numbers, nearer to their mean
      const { n } = this.place(this.chosen);
      const size = this.C * this.S ** 2;
      const image = this.base.slice(n * size, (n + 1) * size);
      const mean = image.reduce((sum, x) => sum + x, 0) / size;
      this.change(() => {
        this.contrasts[n] = Number(contrast); // 1 gives x back to the last digit
        image.forEach((x, k) => {
          this.values[n * size + k] = (1 - contrast) * mean + contrast * x; });
      }, `With this contrast of image ${n}`);
    }

    see(times) { // batch norm sees this batch in training mode
      const batch = normalize({ ...this.batch(), running: null });
      this.change(() => {
        for (let k = 0; k < times; k++) this.running = observe(this.running, batch);
        this.seen += times;
      }, "With these running statistics");
    }

    /* Do something, and say whose results it changes. */
    change(action, what) {
      const before = this.now.result;
      action();
      this.compute();
      this.changed = this.now.result.map((y, i) => Math.abs(y - before[i]) > 1e-9);
      const moved = [...this.changed.keys()].filter((i) => this.changed[i]);
      const images = new Set(moved.map((i) => this.place(i).n));
      this.effect.textContent = `${what}: ${moved.length} of ${plural(before.length, "result")} ` +
        `changed, in ${images.size} of ${plural(this.N, "image")}` +
        (moved.length ? " (marked by a corner)." : ".");
      this.fill();
      this.tell();
    }

    // ---- from the state to numbers
    batch() {
      const { values, norm, groups, eps } = this;
      return { values, shape: [this.N, this.C, this.S, this.S], norm, groups, eps,
        running: this.evaluation ? this.running : null };
    }

    compute() { this.now = normalize(this.batch()); }

    place(i) {
      const size = this.S ** 2;
      return { n: Math.floor(i / size / this.C), c: Math.floor(i / size) % this.C,
        h: Math.floor(i % size / this.S), w: i % this.S };
    }

    name(i) {
      const { n, c, h, w } = this.place(i);
      return `image ${n}, channel ${c}, row ${h}, column ${w}`;
    }

    /* Which elements are lit with element i: those that use the same mean. */
    lit(i) {
      if (this.norm === "none" || this.remembers()) return [i];
      const lit = [];
      this.now.index.forEach((mean, k) => { if (mean === this.now.index[i]) lit.push(k); });
      return lit;
    }

    remembers() { return this.evaluation && this.norm === "batch"; }

    // ---- from numbers to the picture
    draw() {
      const { N, C, S } = this;
      const room = this.svg.input.parentElement.clientWidth || 320;
      const groups = this.norm === "group" ? this.groups : 1;
      const perGroup = C / groups;
      const gaps = 4 * (C - 1) + 8 * (groups - 1);
      const most = N > 8 ? Math.max(9, Math.min(14, (room / 2 - 16 - gaps) / (C * S))) : 34;
      const cell = Math.floor(Math.max(5, Math.min(most, (room - gaps - 4) / (C * S))));
      const wide = C * S * cell + gaps;
      const across = Math.max(1, Math.min(N, Math.floor((room + 8) / (wide + 12))));
      const tall = S * cell + 20;
      this.written = cell >= 25; // smaller cells have no room for a number
      for (const [name, svg] of Object.entries(this.svg)) {
        const width = across * (wide + 12) - 8;
        svg.setAttribute("viewBox", `-2 0 ${width} ${Math.ceil(N / across) * tall}`);
        svg.setAttribute("width", width);
        svg.setAttribute("aria-label", `${name}: ${plural(N, "image")}, ${plural(C, "channel")}, ` +
          `${plural(S, "row")} and ${plural(S, "column")}`);
        const cells = this.cells[name] = [];
        const parts = [];
        for (let n = 0; n < N; n++) {
          const left = n % across * (wide + 12);
          const top = Math.floor(n / across) * tall;
          parts.push(make("text", { x: left, y: top + 12, class: "label", "aria-hidden": "true" },
            cell * C * S < 46 ? String(n) : `image ${n}`));
          for (let h = 0; h < S; h++) {
            const row = make("g", { role: "row" });
            for (let c = 0; c < C; c++) {
              for (let w = 0; w < S; w++) {
                const x = left + (c * S + w) * cell + 4 * c + 8 * Math.floor(c / perGroup);
                const y = top + 17 + h * cell;
                const i = ((n * C + c) * S + h) * S + w;
                cells[i] = make("g", { role: "gridcell", tabindex: -1, "data-i": i,
                  transform: `translate(${x} ${y})` },
                make("rect", { width: cell, height: cell }),
                make("text", { x: cell / 2, y: cell / 2 + 4 }),
                make("path", { d: `M${cell} 0v${cell / 3}l${-cell / 3} ${-cell / 3}z` }));
                row.append(cells[i]);
              }
            }
            parts.push(row);
          }
        }
        const inside = svg.contains(document.activeElement);
        svg.replaceChildren(...parts);
        if (inside) cells[this.chosen].focus(); // whoever was in the grid stays there
      }
      this.shown = [];
      this.fill();
      this.tell();
    }

    fill() {
      const show = (cell, strength, x, i, what) => {
        const [rect, text] = cell.children;
        rect.setAttribute("class", strength < 0 ? "low" : "high");
        rect.style.fillOpacity = Math.min(1, Math.abs(strength));
        text.textContent = this.written ? minus(Number.isInteger(x) ? long(x) : short(x)) : "";
        cell.setAttribute("aria-label", `${what} of ${this.name(i)}: ${long(x)}`);
      };
      this.values.forEach((x, i) => {
        show(this.cells.input[i], (x - 4.5) / 4.5, x, i, "x");
        show(this.cells.result[i], this.now.result[i] / 2.5, this.now.result[i], i, "y");
        this.cells.result[i].classList.toggle("changed", Boolean(this.changed[i]));
      });
    }

    /* Light up what belongs to the chosen element, or the one pointed at, and say its numbers. */
    tell() {
      const i = this.pointed ?? this.chosen;
      const lit = this.lit(i);
      for (const name of ["input", "result"]) {
        const cells = this.cells[name];
        for (const k of this.shown) cells[k].classList.remove("lit", "here");
        for (const k of lit) cells[k].classList.add("lit");
        cells[i].classList.add("here");
        if (this.tabStop !== undefined && cells[this.tabStop]) cells[this.tabStop].tabIndex = -1;
        cells[this.chosen].tabIndex = 0;
      }
      this.shown = lit;
      this.tabStop = this.chosen;
      this.says.textContent = this.sentence(i, lit.length);
      this.formula.textContent = this.arithmetic(i);
      this.surroundings();
    }

    surroundings() { // the fields that show the state
      const { n } = this.place(this.chosen);
      if (document.activeElement !== this.value) this.value.value = +this.values[this.chosen].toFixed(6);
      this.contrast.select.value = this.contrasts[n];
      this.epsilonText.textContent = fine(this.eps);
      this.groupChoice.element.hidden = this.norm !== "group";
      const batch = this.norm === "batch";
      this.mode.element.parentElement.hidden = !batch;
      this.train.disabled = this.more.disabled = batch && this.N * this.S ** 2 < 2;
      const show = (numbers) => numbers.map((x) => minus(x.toFixed(2))).join(", ");
      this.memory.textContent = `seen: ${plural(this.seen, "batch").replace("batchs", "batches")}; ` +
        `running mean ${show(this.running.mean)}; running variance ${show(this.running.variance)}`;
    }

    sentence(i, lit) {
      const where = capital(this.name(i));
      const { n, c } = this.place(i);
      if (this.norm === "none") return `${where}: the number stays as it is.`;
      if (this.remembers())
        return `${where} uses the running mean and variance of channel ${c}, from training: ` +
          "no other number of this batch matters to it.";
      const size = this.C / this.groups;
      const first = Math.floor(c / size) * size;
      const channels = size === 1 ? `channel ${first}` : `channels ${first} to ${first + size - 1}`;
      const of = { batch: `channel ${c} of all images`, layer: `image ${n}`, rms: `image ${n}`,
        group: `${channels} of image ${n}`, instance: `channel ${c} of image ${n}` }[this.norm];
      const what = this.norm === "rms" ? "mean of squares" : "mean";
      const accepted = this.norm === "layer" || (this.norm === "group" && this.N > 1);
      const alone = lit > 1 ? "" :
        this.norm === "rms" ? " It is alone: hardly more than its sign is left." :
          ` It is alone: less its own mean it is 0${accepted ? "." :
            " (PyTorch refuses to train on that)."}`;
      return `${where} shares its ${what} with ${plural(lit - 1, "other number")}: ${of}.${alone}`;
    }

    arithmetic(i) {
      const x = long(this.values[i]);
      if (this.norm === "none") return `y = x = ${x}`;
      const k = this.now.index[i];
      const [mean, variance] = [this.now.mean[k], this.now.variance[k]];
      const y = long(this.now.result[i]);
      const root = `√(${fine(variance)} + ${fine(this.eps)})`;
      if (this.norm === "rms") return `y = x / √(mean of x² + ε) = ${x} / ${root} = ${y}`;
      const less = mean < 0 ? `(${long(mean)})` : long(mean);
      return `y = (x − mean) / √(variance + ε) = (${x} − ${less}) / ${root} = ${y}`;
    }

    // ---- pointer and keyboard
    point(target) {
      const cell = target && target.closest("[data-i]");
      const i = cell ? Number(cell.dataset.i) : null;
      if (i === this.pointed) return;
      this.pointed = i;
      this.tell();
    }

    choose(i) {
      if (i === this.chosen) return;
      this.chosen = i;
      this.tell();
    }

    key(event, name) {
      const { n, c, h, w } = this.place(this.chosen);
      const { N, C, S } = this;
      let [row, column] = [n * S + h, c * S + w];
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
        PageUp: [-S, 0], PageDown: [S, 0], Home: [0, -C * S], End: [0, C * S] }[event.key];
      const more = { "+": 1, "=": 1, "-": -1, "−": -1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step) {
        row = Math.max(0, Math.min(N * S - 1, row + step[0]));
        column = Math.max(0, Math.min(C * S - 1, column + step[1]));
        const i = ((Math.floor(row / S) * C + Math.floor(column / S)) * S + row % S) * S + column % S;
        this.pointed = null;
        this.cells[name][i].focus();
        this.tell(); // at the edge the focus stays, and says nothing
      } else if (more) {
        this.set(this.values[this.chosen] + more);
      } else if (event.key === "Enter") {
        this.value.focus();
        this.value.select();
      } else return;
      event.preventDefault();
    }
  }

  function start() {
    for (const root of document.querySelectorAll(".norm-explorer")) root.explorer = new Explorer(root);
    performance.mark("explorer"); // it answers from now on
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();

/* The page on which networks train: settings, threads, curves. The mathematics is trainer.c, a
 * network's thread worker.js; playground-data.js brings both, and the digits. Nothing else is
 * fetched. It takes the place of what stands in the element of class "playground"; where it cannot
 * run that stays, a still picture, and a sentence says why.
 */
(function () {
  "use strict";

  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const LETTERS = "ABCD", SEEDS = 5, MOST_PAST = 10;

  // --------------------------------------------------------------------------------- settings
  const same = (values) => values.map((value) => [value, String(value)]);
  const percent = (values) => values.map((value) => [value, `${Math.round(100 * value)} %`]);
  const HALF_DECADES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const POWERS = [2, 4, 8, 16, 32, 64, 128, 256];
  const STRENGTHS = [0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1];
  const NORMS = { batch: "batch norm", group: "group norm", layer: "layer norm (per channel)",
    instance: "instance norm", rms: "RMS norm", none: "no norm" };
  // Of each: its name on the page, what there is to choose, the default, and whether a change of it
  // goes on from where the network is. The keys are those of the toolbox's Recipe.
  const SETTINGS = {
    norm: ["norm", Object.entries(NORMS), "batch"],
    groups: ["groups of group norm", same([1, 2, 4]), 4],
    order: ["order in a block", [["act-drop-norm", "ReLU, norm"], ["norm-act-drop", "norm, ReLU"]],
      "act-drop-norm"],
    arch: ["depth", [["mnist_shallow", "2 blocks"], ["mnist_8k", "5 blocks"],
      ["mnist_deep", "10 blocks"]], "mnist_8k"],
    init: ["initial weights", [["default", "PyTorch's"], ["he", "He's"]], "default"],
    lr: ["learning rate", same(HALF_DECADES), 0.1, true],
    schedule: ["rate over time", [["one_cycle", "one cycle"], ["constant", "constant"]], "one_cycle"],
    batch_size: ["batch", same(POWERS), 64],
    momentum: ["momentum", same([0, 0.9]), 0.9],
    epochs: ["epochs", same([1, 2, 3, 5, 10, 20, 30, 50]), 5],
    l1: ["L1", same(STRENGTHS), 0, true],
    l1_step: ["step of L1", [["subgradient", "subgradient"], ["proximal", "proximal"]],
      "subgradient", true],
    l2: ["L2", same(STRENGTHS), 0, true],
    l2_step: ["L2 as", [["gradient", "L2"], ["learning_rate", "a growing rate"]], "gradient"],
    train_size: ["training images", same([100, 200, 500, 1000, 2000, 4000]), 2000],
    label_noise: ["wrong labels", percent([0, 0.1, 0.2, 0.4, 0.6]), 0],
    test_batch: ["batch of a test in training mode", same(POWERS), 64],
    seed: ["seed", same([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 1],
  };
  const DEFAULTS = Object.fromEntries(Object.entries(SETTINGS).map(([name, row]) => [name, row[2]]));
  const WHOLE = ["groups", "batch_size", "epochs", "train_size", "test_batch", "seed"];

  /* What cannot be in the settings of a network: [the setting it is said at, the sentence], or null. */
  function problem(s) {
    if (s.norm === "group" && ![1, 2, 4].includes(s.groups))
      return ["groups", `groups=${s.groups} does not divide 8, 12 and 16 channels. Choose 1, 2 or 4.`];
    if (s.batch_size > s.train_size)
      return ["batch_size", `A batch of ${s.batch_size} is larger than the ${s.train_size} training ` +
        "images. Choose a smaller one, or more images."];
    if (s.lr * s.l2 >= 1)
      return ["l2", `A rate of ${s.lr} with L2 of ${s.l2} takes away all of a weight at each step. ` +
        "Choose a product below 1."];
    if (s.l2_step === "learning_rate" && (s.momentum || s.l1 || s.norm === "none"))
      return ["l2_step", "A growing rate does what L2 does before a norm, without momentum and L1. " +
        "Choose a norm, and 0 for both."];
    return null;
  }

  /* A value of a link as the setting's, or a sentence about it. */
  function read(name, text) {
    const [label, options] = SETTINGS[name];
    const known = options.find(([value]) => String(value) === text);
    if (known) return { value: known[0] };
    const values = options.map(([value]) => value), number = Number(text);
    const fits = typeof values[0] === "number" && text.trim() !== "" && number >= values[0] &&
      number <= values[values.length - 1] && (!WHOLE.includes(name) || Number.isInteger(number));
    if (fits) return { value: number };
    return { error: `${name}=${text} is no ${label}. Choose ` + (typeof values[0] === "number"
      ? `from ${values[0]} to ${values[values.length - 1]}.` : `one of: ${values.join(", ")}.`) };
  }

  /* The networks that a link describes, and what it says that cannot be. */
  function readLink(hash) {
    const errors = [], rows = {};
    for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
      if (!(name in SETTINGS)) { errors.push(`${name} is no setting of this page.`); continue; }
      rows[name] = text.split(",").map((part) => read(name, part)).flatMap(({ value, error }) => {
        if (error) errors.push(error);
        return error ? [DEFAULTS[name]] : [value];
      });
    }
    const count = Math.max(1, ...Object.values(rows).map((values) => values.length));
    if (count > LETTERS.length)
      errors.push(`There is room for ${LETTERS.length} networks, not ${count}.`);
    const networks = Array.from({ length: Math.min(count, LETTERS.length) }, (_, i) => {
      const settings = { ...DEFAULTS };
      for (const [name, values] of Object.entries(rows))
        settings[name] = values[Math.min(i, values.length - 1)];
      for (let wrong; (wrong = problem(settings));) {
        errors.push(`${LETTERS[i]}: ${wrong[1]}`);
        settings[wrong[0]] = wrong[0] === "batch_size" ? Math.min(64, settings.train_size)
          : DEFAULTS[wrong[0]];
      }
      return settings;
    });
    return { networks, errors };
  }

  function writeLink(networks) {
    const parts = Object.keys(SETTINGS).flatMap((name) => {
      const values = networks.map((settings) => settings[name]);
      const one = values.every((value) => value === values[0]);
      return one && values[0] === DEFAULTS[name] && !(name === "norm") ? []
        : [`${name}=${one && name !== "norm" ? values[0] : values.join(",")}`];
    });
    return `#${parts.join("&")}`;
  }

  /* The same network in the toolbox: a cell of Python, and papermill's command or why there is none. */
  function inPython(settings, networks) {
    const { test_batch, ...own } = settings; // a test of the page alone
    const quoted = (value) => typeof value === "string" ? `"${value}"` : String(value);
    const rows = networks[own.arch].expression;
    const lines = ["import model, utils", ""];
    if (own.arch !== "mnist_8k")
      lines.push('spec = model.ARCHITECTURES["mnist_8k"]', "rows = spec.rows",
        `model.ARCHITECTURES["${own.arch}"] = spec._replace(rows=${rows})`, "");
    lines.push("recipe = utils.Recipe(", '    dataset="mnist_sample", augment="none", ' +
      'layer_affine="channel",', ...Object.entries(own).map(([name, value]) =>
      `    ${name}=${quoted(value)},`), `    subset_seed=${own.seed})`, "data = recipe.load_data()",
    "network, history = utils.train_beside(data, recipe)", "utils.evaluate(network, data)");
    return lines.join("\n");
  }
  function inPapermill(settings) {
    const only = ["init", "l1_step", "l2_step", "label_noise"].filter(
      (name) => settings[name] !== DEFAULTS[name]);
    if (settings.arch !== "mnist_8k") only.unshift("arch");
    if (only.length) return `# No notebook has this ${only.join(", ")}: see the cell of Python.`;
    const { init, l1_step, l2_step, label_noise, test_batch, ...own } = settings;
    const all = { dataset: "mnist_sample", augment: "none", layer_affine: "channel", ...own,
      run_name: "from_the_page" };
    return "papermill notebooks/01_batch_norm_l1_l2.ipynb out.ipynb " +
      Object.entries(all).map(([name, value]) => `\\\n  -p ${name} ${value}`).join(" ");
  }

  // --------------------------------------------------------------------------- small helpers
  const SVG = "http://www.w3.org/2000/svg";
  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "text", "line"].includes(tag);
    const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  function button(text, onClick) {
    const element = make("button", { type: "button" }, text);
    element.addEventListener("click", onClick);
    return element;
  }
  const share = (x) => Number.isFinite(x) ? `${(100 * x).toFixed(1)} %` : "no number";
  const mix = (colour, other, part) => `rgb(${[1, 3, 5].map((i) =>
    Math.round((1 - part) * parseInt(colour.slice(i, i + 2), 16) + part * other))})`;
  const long = (x) => Number.isFinite(x) ? x.toFixed(3) : "no number";
  function save(name, type, text) {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // --------------------------------------------------------------------------------- a graph
  /* lines: {x, y, colour, dashes, thin, letter}; axis: [least, most, ticks, logarithmic?]. */
  function graph(title, lines, xAxis, yAxis, describe) {
    const W = 320, H = 190, L = 44, R = 16, T = 8, B = 24;
    const at = ([least, most, , log], from, to) => (value) => {
      const f = log ? Math.log10 : (x) => x;
      const part = (f(Math.min(most, Math.max(least, value))) - f(least)) / (f(most) - f(least) || 1);
      return from + part * (to - from);
    };
    const x = at(xAxis, L, W - R), y = at(yAxis, H - B, T), parts = [];
    for (const tick of yAxis[2])
      parts.push(make("line", { x1: L, x2: W - R, y1: y(tick), y2: y(tick), class: "grid" }),
        make("text", { x: L - 5, y: y(tick) + 4, "text-anchor": "end" },
          yAxis[4] ? yAxis[4](tick) : tick));
    for (const tick of xAxis[2])
      parts.push(make("text", { x: x(tick), y: H - 7, "text-anchor": "middle" }, tick));
    for (const line of lines) {
      const points = line.x.map((value, i) => [x(value), line.y[i]]).filter((p) => Number.isFinite(p[1]))
        .map((p) => [p[0].toFixed(1), y(p[1]).toFixed(1)]);
      if (!points.length) continue;
      const path = points.length > 1 ? points.join("L") : `${points[0]}h2`;
      parts.push(make("path", { d: `M${path}`, class: line.thin ? "thin" : "thick", stroke: line.colour,
        "stroke-dasharray": line.dashes.join(" ") || "none" }));
      const [lastX, lastY] = points[points.length - 1];
      if (!line.letter) continue;
      const middle = points[Math.floor(points.length * (0.3 + 0.15 * line.place))];
      parts.push(make("text", { x: Number(lastX) + 3, y: Number(lastY) + 4, class: "letter" },
        line.letter));
      if (points.length > 3)
        parts.push(make("text", { x: middle[0], y: Number(middle[1]) - 4, class: "letter" }, line.letter));
    }
    return make("div", { class: "graph" }, make("p", { class: "title" }, title),
      make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}. ${describe}` },
        ...parts));
  }
  const nice = (most, count = 4) => { // ticks from 0 to a round number
    const step = [1, 2, 5, 10].map((k) => k * 10 ** Math.floor(Math.log10(most / count || 1)))
      .find((k) => most / k <= count) || 1;
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 },
      (_, i) => +(i * step).toPrecision(6));
  };

  // ----------------------------------------------------------------------------- the page
  class Playground {
    constructor(root, data, wasm, pixels) {
      const labels = Uint8Array.from(data.labels, Number);
      Object.assign(this, { root, data, wasm, labels, pixels, networks: [], going: false, chosen: "all",
        queue: [], run: 0, said: 0 });
      this.source = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
      root.replaceChildren(this.bar(), this.settings(), this.outcome());
      this.open(location.hash);
      addEventListener("hashchange", () => {
        if (location.hash !== writeLink(this.networks.map((n) => n.settings)) &&
          (location.hash.includes("=") || !location.hash)) {
          this.open(location.hash);
          root.scrollIntoView();
        }
      });
      document.addEventListener("visibilitychange", () => {
        if (document.hidden && this.going) { this.go(false); this.resumes = true; }
        else if (!document.hidden && this.resumes) { this.resumes = false; this.go(true); }
      });
      addEventListener("pagehide", () => this.go(false));
    }

    // ---- what stands there
    bar() {
      this.play = button("train", () => this.go(!this.going));
      return make("div", { class: "controls" }, this.play,
        button("one step", () => this.send({ steps: 1 })),
        button("one epoch", () => this.send({ steps: "epoch" })),
        button("again", () => { this.queue = []; this.networks.forEach((n) => this.restart(n)); }),
        button(`${SEEDS} seeds`, () => this.manySeeds()),
        this.more = button("one network more", () => this.add()),
        this.fewer = button("one fewer", () => this.remove()));
    }

    settings() {
      this.whose = make("select", { id: "playground-whose" });
      this.whose.addEventListener("change", () => { this.chosen = this.whose.value; this.fill(); });
      this.fields = {};
      const rows = Object.entries(SETTINGS).map(([name, [label, , , live]]) => {
        const id = `playground-${name}`, no = `${id}-no`;
        const select = make("select", { id, "aria-describedby": no });
        const says = make("p", { id: no, class: "no", role: "alert" });
        select.addEventListener("change", () => this.set(name, select.value));
        this.fields[name] = { select, says };
        return make("div", {}, make("label", { for: id }, label + (live ? " *" : "")), select, says);
      });
      this.complaints = make("div", { class: "no", role: "alert" });
      return make("div", {}, this.complaints, make("div", { class: "controls whose" },
        make("div", {}, make("label", { for: this.whose.id }, "settings of"), this.whose)),
      make("div", { class: "controls" }, ...rows),
      make("p", { class: "note" }, "* goes on from where the network is; all others start it anew."));
    }

    outcome() {
      this.says = make("p", { class: "says", role: "status" });
      this.cards = make("div", { class: "cards" });
      this.graphs = make("div", { class: "graphs" });
      this.ends = make("div", { class: "ends", tabindex: 0, role: "region",
        "aria-label": "Finished runs" });
      this.code = make("pre", { tabindex: 0, "aria-label": "The same in the toolbox" });
      const code = make("details", {}, make("summary", {}, "The same network in the toolbox"),
        this.code);
      code.addEventListener("toggle", () => this.showCode());
      return make("div", {}, this.says, this.cards, this.graphs, this.ends, this.pad(),
        make("div", { class: "controls" }, button("curves as CSV", () => this.saveCurves())), code);
    }

    pad() { // a digit that one draws
      this.canvas = make("canvas", { width: 280, height: 280, role: "img",
        "aria-label": "A place to draw a digit with finger or mouse" });
      this.ink = this.canvas.getContext("2d", { willReadFrequently: true });
      let last = null;
      const point = (event) => {
        const box = this.canvas.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width * 280,
          (event.clientY - box.top) / box.height * 280];
      };
      this.canvas.addEventListener("pointerdown", (event) => {
        this.canvas.setPointerCapture(event.pointerId);
        last = point(event);
      });
      this.canvas.addEventListener("pointermove", (event) => {
        if (!last) return;
        const next = point(event);
        Object.assign(this.ink, { strokeStyle: "white", lineWidth: 22, lineCap: "round" });
        this.ink.beginPath();
        this.ink.moveTo(...last);
        this.ink.lineTo(...next);
        this.ink.stroke();
        last = next;
      });
      const up = () => { if (last) this.judge(this.centred()); last = null; };
      this.canvas.addEventListener("pointerup", up);
      this.canvas.addEventListener("pointercancel", up);
      this.taken = this.data.train;
      const take = () => {
        const size = 28 * 28, i = this.taken++ % this.labels.length;
        this.clear();
        this.ink.imageSmoothingEnabled = false;
        this.ink.drawImage(this.picture(i), 0, 0, 280, 280);
        this.judge(this.pixels.slice(i * size, (i + 1) * size));
      };
      this.clear();
      this.verdict = make("p", { class: "verdict", role: "status" });
      const title = make("p", { class: "title" }, "Draw a digit, and all judge it");
      return make("div", { class: "pad" }, title,
        make("div", { class: "controls" }, this.canvas, make("div", {}, button("clear", () => {
          this.clear();
          this.networks.forEach((n) => { n.verdict = null; });
          this.tellVerdicts();
        }), button("take a test image", take), this.verdict)));
    }
    clear() { this.ink.fillStyle = "black"; this.ink.fillRect(0, 0, 280, 280); }

    centred() { // as MNIST's digits are: 20 pixels high or wide, their centre of mass in the middle
      const { data } = this.ink.getImageData(0, 0, 280, 280);
      let [left, top, right, bottom, mass, sumX, sumY] = [280, 280, 0, 0, 0, 0, 0];
      for (let y = 0; y < 280; y++)
        for (let x = 0; x < 280; x++) {
          const ink = data[4 * (y * 280 + x)];
          if (!ink) continue;
          [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x),
            Math.max(bottom, y)];
          mass += ink; sumX += ink * x; sumY += ink * y;
        }
      if (!mass) return new Uint8Array(784);
      const scale = 20 / Math.max(right - left + 1, bottom - top + 1, 60);
      const small = make("canvas", { width: 28, height: 28 }).getContext("2d");
      small.fillRect(0, 0, 28, 28);
      small.imageSmoothingQuality = "high";
      small.drawImage(this.canvas, 14 - sumX / mass * scale, 14 - sumY / mass * scale, 280 * scale,
        280 * scale);
      const out = small.getImageData(0, 0, 28, 28).data;
      return Uint8Array.from({ length: 784 }, (_, i) => out[4 * i]);
    }

    judge(pixels) { this.send({ draw: pixels }); }
    tellVerdicts() {
      this.verdict.textContent = this.networks.filter((n) => n.verdict).map((n) =>
        `${n.letter}: ${n.verdict[0]} (${share(n.verdict[1])})`).join(", ");
    }

    picture(i) { // a digit as a small canvas
      const canvas = make("canvas", { width: 28, height: 28 });
      const context = canvas.getContext("2d"), image = context.createImageData(28, 28);
      for (let p = 0; p < 784; p++)
        image.data.set([...Array(3).fill(this.pixels[i * 784 + p]), 255], 4 * p);
      context.putImageData(image, 0, 0);
      return canvas;
    }

    // ---- networks and their threads
    open(hash) {
      const { networks, errors } = readLink(hash);
      this.go(false);
      this.queue = [];
      while (this.networks.length > networks.length) this.networks.pop().worker.terminate();
      networks.forEach((settings, i) => {
        const network = this.networks[i];
        if (network) this.restart(Object.assign(network, { settings, past: [] }));
        else this.start(settings);
      });
      this.complaints.replaceChildren(...(errors.length ? [make("p", {},
        `This link says what cannot be; the rest is set. ${errors.join(" ")}`)] : []));
      this.chosen = "all";
      this.fill();
    }

    start(settings) {
      const network = { settings, letter: LETTERS[this.networks.length], past: [], points: [],
        worker: new Worker(this.source) };
      network.worker.onmessage = ({ data }) => this.hear(network, data);
      network.worker.onerror = (event) => {
        this.says.textContent = `A network stopped: ${event.message}`;
      };
      const { labels, pixels, data: { train, mean, std } } = this;
      network.worker.postMessage({ setup: [this.wasm, { pixels, labels, train, mean, std }] });
      this.networks.push(network);
      this.restart(network);
    }

    restart(network) {
      Object.assign(network, { points: [], run: ++this.run, verdict: null });
      network.worker.postMessage({ start: [this.data.networks[network.settings.arch], network.settings],
        run: network.run, go: this.going });
      this.redraw();
    }

    add() {
      if (this.networks.length === LETTERS.length) return;
      const { settings } = this.networks[this.networks.length - 1];
      this.start({ ...settings });
      this.fill();
    }
    remove() {
      if (this.networks.length === 1) return;
      this.networks.pop().worker.terminate();
      this.chosen = "all";
      this.fill();
    }

    send(message) { for (const network of this.networks) network.worker.postMessage(message); }

    go(going) {
      if (going && this.networks.every((n) => this.ended(n)))
        this.networks.forEach((n) => this.restart(n));
      this.going = going;
      this.play.textContent = going ? "pause" : "train";
      this.send({ go: going });
    }
    ended(network) { return Boolean(network.points.at(-1)?.over); }

    manySeeds() { // one after the other, each drawn
      for (const network of this.networks) network.past = [];
      this.queue = Array.from({ length: SEEDS }, (_, i) => i + 1);
      this.nextSeed();
    }
    nextSeed() {
      const seed = this.queue.shift();
      for (const network of this.networks) { network.settings.seed = seed; this.restart(network); }
      this.fill();
      this.go(true);
    }

    hear(network, { kind, run, says, ...point }) {
      if (run !== network.run) return; // of what it did before
      if (kind === "judged") {
        network.verdict = says;
        this.tellVerdicts();
        return;
      }
      network.points.push(point);
      if (point.over) {
        network.past.push({ seed: network.settings.seed, points: network.points });
        network.past.splice(0, network.past.length - MOST_PAST);
      }
      if (this.networks.every((n) => this.ended(n))) {
        if (this.queue.length) this.nextSeed();
        else this.go(false);
      }
      this.redraw();
    }

    // ---- settings
    set(name, text) {
      if (text === "") return; // they differ, and may go on doing so
      const { value } = read(name, text);
      const whose = this.networks.filter((n) => this.chosen === "all" || n.letter === this.chosen);
      for (const field of Object.values(this.fields)) field.says.textContent = "";
      for (const network of whose) {
        const wrong = problem({ ...network.settings, [name]: value });
        if (wrong) {
          this.fields[name].says.textContent = wrong[1];
          this.fill();
          return;
        }
      }
      this.queue = [];
      for (const network of whose) {
        network.settings = { ...network.settings, [name]: value };
        if (SETTINGS[name][3]) network.worker.postMessage({ change: { [name]: value } });
        else { network.past = []; this.restart(network); }
      }
      this.fill();
    }

    fill() { // fields that show the state, and the address
      const options = (rows, value) => rows.map(([v, text]) => {
        const option = make("option", { value: v }, text);
        option.selected = String(v) === String(value);
        return option;
      });
      this.whose.replaceChildren(...options([["all", "all networks"],
        ...this.networks.map((n) => [n.letter, n.letter])], this.chosen));
      const whose = this.networks.filter((n) => this.chosen === "all" || n.letter === this.chosen);
      for (const [name, { select }] of Object.entries(this.fields)) {
        const values = whose.map((n) => n.settings[name]), rows = [...SETTINGS[name][1]];
        const one = values.every((value) => value === values[0]);
        if (one && !rows.some(([v]) => v === values[0])) rows.push([values[0], String(values[0])]);
        if (!one) rows.unshift(["", "they differ"]);
        select.replaceChildren(...options(rows, one ? values[0] : ""));
      }
      this.fewer.disabled = this.networks.length === 1;
      this.more.disabled = this.networks.length === LETTERS.length;
      const link = writeLink(this.networks.map((n) => n.settings));
      if (location.hash.includes("=") || link !== "#norm=batch") history.replaceState(null, "", link);
      this.showCode();
      this.redraw();
    }

    showCode() {
      const network = this.networks.find((n) => n.letter === this.chosen) || this.networks[0];
      if (network) this.code.textContent = `# ${network.letter}\n` +
        `${inPython(network.settings, this.data.networks)}\n\n${inPapermill(network.settings)}`;
    }

    saveCurves() {
      const names = ["step", "seen", "epoch", "loss", "accuracy", "test_loss", "test_accuracy",
        "batch_accuracy"];
      const rows = this.networks.flatMap((n) => [...n.past.filter((run) => run.points !== n.points),
        { seed: n.settings.seed, points: n.points }].flatMap(({ seed, points }) =>
        points.map((point) => [n.letter, seed, ...names.map((name) => point[name] ?? "")].join(","))));
      save("curves.csv", "text/csv", [`network,seed,${names}`, ...rows, ""].join("\n"));
    }

    // ---- the picture
    redraw() {
      if (this.waiting) return;
      this.waiting = true;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches; // then once a second
      const draw = () => { this.waiting = false; this.draw(); };
      if (still || document.hidden) setTimeout(draw, 1000);
      else requestAnimationFrame(draw);
    }

    name(network) { // what it is, and what tells it from the others
      const differs = Object.keys(SETTINGS).filter((name) => name !== "norm" &&
        this.networks.some((n) => n.settings[name] !== this.networks[0].settings[name]));
      const shown = (name) => {
        const value = network.settings[name];
        const option = SETTINGS[name][1].find(([v]) => v === value);
        return `${SETTINGS[name][0]} ${option ? option[1] : value}`;
      };
      return [NORMS[network.settings.norm], ...differs.map(shown)].join(", ");
    }

    state(network) {
      const last = network.points.at(-1);
      if (!last) return "not trained yet";
      const size = Number.isFinite(last.loss) ? "has grown beyond all bounds" : "is no number any more";
      if (last.diverged) return `diverged after ${last.step} steps: the loss ${size}`;
      return `${share(last.test_accuracy)} of the test images right, after ${last.epoch.toFixed(1)} ` +
        `of ${network.settings.epochs} epoch${network.settings.epochs === 1 ? "" : "s"}`;
    }

    draw() {
      const last = (n) => n.points.at(-1);
      const look = (n) => { // of two with one norm, the second is darker, then lighter, darker still
        const before = this.networks.slice(0, this.networks.indexOf(n))
          .filter((other) => other.settings.norm === n.settings.norm).length;
        const { colour, dashes } = this.data.looks[n.settings.norm];
        return { dashes, colour: mix(colour, ...[[0, 0], [0, 0.6], [255, 0.5], [0, 0.85]][before]),
          place: this.networks.indexOf(n) };
      };
      this.cards.replaceChildren(...this.networks.map((n) => {
        const { colour, dashes } = look(n), point = last(n);
        const line = make("svg", { viewBox: "0 0 40 10", class: "line", "aria-hidden": "true" },
          make("path", { d: "M0 5H40", class: "thick", stroke: colour,
            "stroke-dasharray": dashes.join(" ") || "none" }));
        const wrong = point ? point.wrong.map(([i, label, said, sure]) => {
          const canvas = this.picture(i), text = `${label}, taken for ${said}`;
          canvas.setAttribute("role", "img");
          canvas.setAttribute("aria-label", `${text} (${share(sure)} sure)`);
          return make("figure", {}, canvas,
            make("figcaption", { "aria-hidden": "true" }, `${label}→${said}`));
        }) : [];
        const more = point ? [make("p", {}, `loss ${long(point.loss)}, test ${long(point.test_loss)}; ` +
          `exact zeros ${share(point.zeros)}` + (point.batch_accuracy === null ? "" :
          `; in training mode ${share(point.batch_accuracy)} right`)),
        make("div", { class: "wrong" }, ...wrong)] : [];
        return make("div", { class: "network" },
          make("p", { class: "title" }, line, ` ${n.letter}: ${this.name(n)}`),
          make("p", {}, this.state(n)), ...more);
      }));
      this.drawGraphs(last, look);
      this.drawEnds();
      const now = performance.now();
      const sentence = this.networks.map((n) => `${n.letter}: ${this.state(n)}.`).join(" ");
      if (now - this.said > 1000 || !this.going) { // a sentence a second, at most
        clearTimeout(this.later);
        if (now - this.said > 1000) { this.said = now; this.says.textContent = sentence; }
        else this.later = setTimeout(() => this.draw(), 1000);
      }
    }

    drawGraphs(last, look) {
      const all = this.networks.flatMap((n) => [
        ...n.past.filter((run) => run.points !== n.points).map(
          (run) => ({ n, points: run.points, past: true })),
        { n, points: n.points }]);
      const most = Math.max(1, ...all.map(({ points }) => points.at(-1)?.seen ?? 0),
        ...this.networks.map((n) => n.settings.train_size * Math.min(1, n.settings.epochs)));
      const x = [0, most / 1000, nice(most / 1000)];
      const curve = ({ n, points, past }, name, thin) => ({ x: points.map((p) => p.seen / 1000),
        y: points.map((p) => p[name] ?? NaN), ...look(n), thin: thin || past,
        letter: thin || past ? "" : n.letter });
      const summary = this.networks.map((n) => `${n.letter}: ${this.state(n)}`).join("; ");
      const percentAxis = [0, 1, [0, 0.25, 0.5, 0.75, 1], false, (t) => `${100 * t} %`];
      const lossAxis = [0.01, 10, [0.01, 0.1, 1, 10], true];
      const trained = this.networks.filter(last);
      const rows = (name) => trained.map((n) => ({ x: last(n)[name].map((_, i) => i + 1),
        y: last(n)[name].map((v) => v || NaN), ...look(n), letter: n.letter }));
      const layers = Math.max(7, ...trained.map((n) => last(n).sizes.length));
      const byLayer = (title, name, axis) => graph(title, rows(name),
        [1, layers, [1, Math.ceil(layers / 2), layers]], axis,
        "Of each row of the network, from the image on");
      const decades = (name) => {
        const values = trained.flatMap((n) => last(n)[name]).filter((v) => v > 0 && v < Infinity);
        const low = Math.floor(Math.log10(Math.min(0.1, ...values)));
        const high = Math.ceil(Math.log10(Math.max(1, ...values)));
        const step = Math.max(1, Math.ceil((high - low) / 5));
        const ticks = [];
        for (let p = low; p <= high; p += step) ticks.push(Number(`1e${p}`));
        return [10 ** low, 10 ** high, ticks, true,
          (t) => t >= 0.001 && t <= 1000 ? t : t.toExponential(0)];
      };
      const lengths = Math.max(1, ...trained.flatMap((n) => last(n).lengths).filter(Number.isFinite));
      const histogram = trained.map((n) => ({ ...look(n),
        x: last(n).histogram.map((_, i, { length }) => (i / (length - 1) * 2 - 1) * 0.8),
        y: last(n).histogram.map((v) => Math.max(v, 0.0005)) }));
      const training = this.networks.some((n) => n.settings.norm === "batch") ? [graph(
        "batch norm's test images right: in evaluation mode, and (thin) in training mode",
        all.filter(({ n }) => n.settings.norm === "batch").flatMap((one) => [
          { ...curve(one, "test_accuracy"), letter: "" },
          { ...curve(one, "batch_accuracy", true), letter: one.past ? "" : one.n.letter }]),
        x, percentAxis, summary)] : [];
      this.graphs.replaceChildren(
        graph("test images right (thin: of training batches)", all.flatMap((one) =>
          [curve(one, "accuracy", true), curve(one, "test_accuracy")]), x, percentAxis, summary),
        graph("test loss (thin: of training batches)", all.flatMap((one) =>
          [curve(one, "loss", true), curve(one, "test_loss")]), x, lossAxis, summary),
        ...training, byLayer("size of what each row puts out", "sizes", decades("sizes")),
        byLayer("size of its gradient", "gradients", decades("gradients")),
        byLayer("length of each convolution's weights", "lengths", [0, lengths, nice(lengths), false]),
        graph("weights: how many of which value", histogram, [-0.8, 0.8, [-0.8, -0.4, 0, 0.4, 0.8]],
          [0.0005, 1, [0.001, 0.01, 0.1, 1], true, (t) => `${100 * t} %`],
          "The two ends hold all beyond them"),
        make("p", { class: "note" }, "Curves: thousands of training images seen, from left to right."));
    }

    drawEnds() {
      const ran = this.networks.filter((n) => n.past.length);
      this.ends.hidden = !ran.length;
      const rows = ran.map((n) => {
        const ends = n.past.map(({ seed, points }) => [seed, points.at(-1)]);
        const right = ends.map(([, point]) => point.test_accuracy);
        return make("tr", {}, make("th", { scope: "row" }, `${n.letter}: ${this.name(n)}`),
          make("td", {}, ends.map(([seed, point]) => `${seed}: ` +
            (point.diverged ? "diverged" : share(point.test_accuracy))).join("; ")),
          make("td", {}, `${share(Math.min(...right))} to ${share(Math.max(...right))}`));
      });
      this.ends.replaceChildren(make("table", {}, make("caption", {}, "Finished runs: test images " +
        "right at the end. One run proves nothing."), make("tr", {},
        ...["network", "seed: right", "range"].map((text) => make("th", { scope: "col" }, text))),
      ...rows));
    }
  }

  // ------------------------------------------------------------------------------- the start
  function load(name) {
    return new Promise((done, failed) => {
      const script = make("script", { src: here + name });
      script.onload = done;
      script.onerror = () => failed(new Error(`${name} was not found`));
      document.head.append(script);
    });
  }

  async function digits({ digits: source, across, labels }) { // gray values, image by image
    const image = new Image();
    image.src = source;
    await image.decode();
    const context = make("canvas", { width: image.width, height: image.height })
      .getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const pixels = new Uint8Array(labels.length * 784);
    for (let i = 0, k = 0; i < labels.length; i++)
      for (let y = 0; y < 28; y++) {
        const row = (Math.floor(i / across) * 28 + y) * image.width + i % across * 28;
        for (let x = 0; x < 28; x++) pixels[k++] = data[4 * (row + x)];
      }
    return pixels;
  }

  async function begin() {
    const root = document.querySelector(".playground");
    if (!root) return;
    try {
      await load("playground-data.js");
      const data = globalThis.PLAYGROUND;
      const wasm = Uint8Array.from(atob(data.wasm), (letter) => letter.charCodeAt(0));
      if (!globalThis.WebAssembly || !WebAssembly.validate(wasm))
        throw new Error("this browser has no WebAssembly with SIMD. Chrome, Edge and Firefox have " +
          "had it since 2021, Safari since 2023");
      root.playground = new Playground(root, data, wasm, await digits(data));
      performance.mark("playground");
    } catch (error) {
      root.prepend(make("p", { role: "alert" }, `No network trains here: ${error.message}.`));
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();

/* The page on which networks train: settings, threads, curves. The mathematics is trainer.c, a
 * network's thread worker.js; playground-data.js brings both, and the digits. Nothing else is
 * fetched. It takes the place of what stands in the element of class "playground"; where it cannot
 * run that stays, a still picture, and a sentence says why.
 */
(function () {
  "use strict";

  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const LETTERS = "ABCD", SEEDS = 5, MOST_RUNS = 60;
  // What is shown of the last point alone, and kept of no other.
  const DETAILS = ["wrong", "sizes", "gradients", "lengths", "histogram"];

  // --------------------------------------------------------------------------------- settings
  const same = (values) => values.map((value) => [value, String(value)]);
  const percent = (values) => values.map((value) => [value, `${Math.round(100 * value)} %`]);
  const HALF_DECADES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const POWERS = [2, 4, 8, 16, 32, 64, 128, 256];
  const STRENGTHS = [0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1];
  const NORMS = { batch: "batch norm", group: "group norm", layer: "layer norm (per channel)",
    instance: "instance norm", rms: "RMS norm", none: "no norm" };
  // Of each: its name on the page, what there is to choose, the default, a sentence of help, its
  // entry in the glossary. The keys are those of the toolbox's Recipe.
  const SETTINGS = {
    norm: ["norm", Object.entries(NORMS), "batch",
      "What normalizes the values that a block passes on, or nothing.", "Norm-normalization"],
    groups: ["groups of group norm", same([1, 2, 4]), 4,
      "How many groups of channels have a mean of their own.", "Group-norm"],
    order: ["order in a block", [["act-drop-norm", "ReLU, norm"], ["norm-act-drop", "norm, ReLU"]],
      "act-drop-norm", "Which of the two comes first, after the convolution."],
    arch: ["depth", [["mnist_shallow", "2 blocks"], ["mnist_8k", "5 blocks"],
      ["mnist_deep", "10 blocks"]], "mnist_8k", "A block: a convolution, a norm and a ReLU."],
    init: ["initial weights", [["default", "PyTorch's"], ["he", "He's"]], "default",
      "He's are larger: what passes a convolution and a ReLU keeps its size."],
    lr: ["learning rate", same(HALF_DECADES), 0.1, "How far a step goes against the gradient.",
      "Learning-rate-one-cycle"],
    schedule: ["rate over time", [["one_cycle", "one cycle"], ["constant", "constant"]],
      "one_cycle", "One cycle: the rate rises, then falls to almost nothing.",
      "Learning-rate-one-cycle"],
    batch_size: ["batch", same(POWERS), 64, "How many images a step learns from."],
    momentum: ["momentum", same([0, 0.9]), 0.9, "The share of its last step that a step keeps.",
      "Momentum-of-an-optimizer"],
    epochs: ["epochs", same([1, 2, 3, 5, 10, 20, 30, 50]), 5,
      "How many times training goes through all its images.", "Epoch"],
    l1: ["L1", same(STRENGTHS), 0, "Pulls each weight towards zero, all by the same amount.", "L1"],
    l1_step: ["step of L1", same(["subgradient", "proximal"]), "subgradient",
      "The subgradient may pull a weight over zero; the proximal step stops there.",
      "Proximal-step"],
    l2: ["L2", same(STRENGTHS), 0, "Pulls each weight towards zero, in proportion to it.", "L2"],
    l2_step: ["L2 as", [["gradient", "L2"], ["learning_rate", "a growing rate"]], "gradient",
      "Before a norm, shorter weights and a larger rate do the same.", "Effective-learning-rate"],
    train_size: ["training images", same([100, 200, 500, 1000, 2000, 4000]), 2000,
      "How many digits there are to learn from. The test has 1,000 others."],
    label_noise: ["wrong labels", percent([0, 0.1, 0.2, 0.4, 0.6]), 0,
      "The share of training images that get the label of another digit.", "Overfitting"],
    test_batch: ["batch of a test in training mode", same(POWERS), 64,
      "Batch norm is tested a second time, with the statistics of so many test images.",
      "Training-mode-evaluation-mode"],
    seed: ["seed", same([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 1,
      "Another seed: other initial weights, other training images, in another order.", "Seed"],
  };
  const LIVE = ["lr", "l1", "l1_step", "l2"]; // a change goes on from where the network is
  const DEFAULTS = Object.fromEntries(
    Object.entries(SETTINGS).map(([name, row]) => [name, row[2]]));
  const APPLIES = { groups: (s) => s.norm === "group", test_batch: (s) => s.norm === "batch",
    l1_step: (s) => s.l1 > 0, l2_step: (s) => s.l2 > 0 || s.l2_step !== DEFAULTS.l2_step };
  const applies = (name, settings) => !(name in APPLIES) || APPLIES[name](settings);
  const WHOLE = ["groups", "batch_size", "epochs", "train_size", "test_batch", "seed"];

  /* What cannot be in a network's settings: [the setting it is said at, the sentence], or null. */
  function problem(s) {
    if (s.norm === "group" && ![1, 2, 4].includes(s.groups))
      return ["groups", `groups=${s.groups} does not divide 8, 12 and 16 channels. ` +
        "Choose 1, 2 or 4."];
    if (s.batch_size > s.train_size)
      return ["batch_size", `A batch of ${s.batch_size} is larger than the ${s.train_size} ` +
        "training images. Choose a smaller one, or more images."];
    if (s.lr * s.l2 >= 1)
      return ["l2", `A rate of ${s.lr} with L2 of ${s.l2} takes away all of a weight at each ` +
        "step. Choose a product below 1."];
    const wrong = [s.norm === "none" && "a norm", s.momentum && `momentum 0, not ${s.momentum}`,
      s.l1 && `L1 0, not ${s.l1}`].filter(Boolean);
    if (s.l2_step === "learning_rate" && wrong.length)
      return ["l2_step", "A growing rate does what L2 does before a norm, without momentum and " +
        `L1. Choose ${wrong.join(", and ")}; or L2 as L2.`];
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
      if (name in rows) errors.push(`${name} is there twice, and the last one counts.`);
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

  /* The same network in the toolbox: a cell of Python; papermill's command or why there is none. */
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
  const short = (x, digits) => x.toExponential(digits).replace("+", "");
  const long = (x) => !Number.isFinite(x) ? "no number" : x < 1e4 ? x.toFixed(3) : short(x, 1);
  function save(name, type, text) {
    const href = URL.createObjectURL(new Blob([text], { type }));
    make("a", { href, download: name }).click();
    URL.revokeObjectURL(href);
  }

  // --------------------------------------------------------------------------------- a graph
  const SYMBOLS = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-3.5-3.5h7v7h-7z", "M0-5L5 4h-10z",
    "M0-5.5L5.5 0L0 5.5L-5.5 0z"]; // of networks A to D
  const symbol = ({ style, place }, x, y) => make("path", { d: SYMBOLS[place], class: "symbol",
    style, transform: `translate(${x} ${y})` });
  const stroke = ({ style, dashes }, d, kind = "thick") => make("path", { d, style, class: kind,
    "stroke-dasharray": dashes.join(" ") || "none" });

  /* lines: {x, y, style, dashes, kind, place, letter}; axis: [least, most, ticks, logarithmic?,
   * text of a tick?]. */
  function graph(title, lines, xLabel, xAxis, yAxis, describe = "") {
    const W = 320, H = 184, L = 44, R = 28, T = 8, B = 20;
    const at = ([least, most, , log], from, to) => (value) => {
      const f = log ? Math.log10 : (x) => x, span = f(most) - f(least) || 1;
      const part = (f(Math.min(most, Math.max(least, value))) - f(least)) / span;
      return +(from + part * (to - from)).toFixed(1);
    };
    const x = at(xAxis, L, W - R), y = at(yAxis, H - B, T), parts = [], ends = [];
    for (const tick of yAxis[2])
      parts.push(make("line", { x1: L, x2: W - R, y1: y(tick), y2: y(tick), class: "grid" }),
        make("text", { x: L - 5, y: y(tick) + 4, "text-anchor": "end" },
          yAxis[4] ? yAxis[4](tick) : tick));
    for (const tick of xAxis[2])
      parts.push(make("text", { x: x(tick), y: H - 5, "text-anchor": "middle" }, tick));
    for (const line of lines) {
      const points = line.x.map((value, i) => [x(value), line.y[i]])
        .filter((p) => !Number.isNaN(p[1])).map((p) => [p[0], y(p[1])]);
      if (!points.length) continue;
      parts.push(stroke(line, `M${points[1] ? points.join("L") : `${points[0]}h2`}`, line.kind));
      if (!line.letter) continue;
      const end = points.at(-1), middle = Math.floor(points.length * (0.3 + 0.15 * line.place));
      parts.push(symbol(line, ...points[middle]), symbol(line, ...end));
      ends.push({ x: end[0] + 8, y: end[1] + 4, letter: line.letter });
    }
    ends.sort((a, b) => a.y - b.y); // and apart, where one would stand on another
    ends.forEach((end, i) => ends.slice(0, i).forEach((other) => {
      if (Math.abs(end.x - other.x) < 20) end.y = Math.max(end.y, other.y + 11);
    }));
    const low = Math.max(0, ...ends.map((end) => end.y - (H - B + 4)));
    for (const end of ends)
      parts.push(make("text", { x: end.x, y: end.y - low, class: "letter" }, end.letter));
    const beyond = lines.some((line) => line.y.some((v) => v < yAxis[0] || v > yAxis[1]));
    const label = xLabel + (beyond ? "; at the upper or lower edge: beyond it" : "");
    return make("div", { class: "graph" }, make("p", { class: "title" }, title),
      make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img",
        "aria-label": `${title}. From left to right: ${label}. ${describe}` }, ...parts),
      make("p", { class: "axis", "aria-hidden": "true" }, label));
  }
  const nice = (most, count = 4) => { // ticks from 0 to a round number
    const step = [1, 2, 5, 10].map((k) => k * 10 ** Math.floor(Math.log10(most / count || 1)))
      .find((k) => most / k <= count) || 1;
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 },
      (_, i) => +(i * step).toPrecision(6));
  };

  // ---------------------------------------------------------------------------------- runs
  /* What a run has but its seed: the settings it began with that apply, and what was changed. */
  const keyOf = ({ began, changed }) => JSON.stringify([changed, ...Object.keys(SETTINGS)
    .filter((name) => name !== "seed" && applies(name, began)).map((name) => began[name])]);
  /* What it is called: its norm, and what tells it from the others. */
  function nameOf({ began, changed }, others, hidden = "") {
    const differs = Object.keys(SETTINGS).filter((name) => !["norm", hidden].includes(name) &&
      applies(name, began) && others.some((other) => other.began[name] !== began[name]));
    const shown = (name) => {
      const option = SETTINGS[name][1].find(([value]) => value === began[name]);
      return `${SETTINGS[name][0]} ${option ? option[1] : began[name]}`;
    };
    return [NORMS[began.norm], ...differs.map(shown), ...changed].join(", ");
  }

  // ----------------------------------------------------------------------------- the page
  class Playground {
    constructor(root, data, wasm, pixels) {
      const labels = Uint8Array.from(data.labels, Number);
      Object.assign(this, { root, data, wasm, labels, pixels, networks: [], going: false,
        chosen: "all", queue: [], runs: [], run: 0, said: 0 });
      this.source = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
      this.experiment = make("section", { class: "experiment", "aria-label": "The experiment" });
      root.replaceChildren(this.experiment, this.bar(), this.settings(), this.outcome());
      this.open(location.hash);
      const follow = () => {
        if (location.hash && !location.hash.includes("=")) return; // to a heading
        this.open(location.hash);
        root.scrollIntoView();
        this.play.focus({ preventScroll: true });
      };
      addEventListener("hashchange", follow);
      document.addEventListener("click", ({ target }) => { // where it leads to what is set already
        if (target.closest("a.try")?.hash === location.hash) follow();
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
        this.step = button("one step", () => this.send({ steps: 1 })),
        this.epoch = button("one epoch", () => this.send({ steps: "epoch" })),
        button("reset", () => { this.queue = []; this.go(false); this.ownSeeds(true); }),
        button(`${SEEDS} seeds`, () => this.manySeeds()),
        this.more = button("one network more", () => this.add()),
        this.fewer = button("one fewer", () => this.remove()));
    }

    settings() {
      this.whose = make("select", { id: "playground-whose" });
      this.whose.addEventListener("change", () => { this.chosen = this.whose.value; this.fill(); });
      this.fields = {};
      this.help = make("p", { class: "note help" }); // on the control in use
      const rows = Object.entries(SETTINGS).map(([name, [label, , , help, term]]) => {
        const id = `playground-${name}`, no = `${id}-no`;
        const select = make("select", { id, "aria-describedby": no, "aria-description": help });
        const says = make("p", { id: no, class: "no", role: "alert" });
        const box = make("div", {}, make("label", { for: id },
          label + (LIVE.includes(name) ? " *" : "")), select, says);
        select.addEventListener("change", () => this.set(name, select.value));
        for (const event of ["focusin", "pointerenter"])
          box.addEventListener(event, () => this.help.replaceChildren(`${label}: ${help} `,
            term ? make("a", { href: `glossary.html#term-${term}` }, "In the glossary") : ""));
        this.fields[name] = { box, select, says };
        return box;
      });
      this.complaints = make("div", { class: "no", role: "alert" });
      return make("div", {}, this.complaints, make("div", { class: "controls whose" },
        make("label", { for: this.whose.id }, "change the settings of"), this.whose),
      make("div", { class: "controls" }, ...rows), this.help, make("p", { class: "note" },
        "* goes on from where the network is, until its end; all others start it anew."));
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
      return make("div", {}, this.says, this.cards, this.graphs, this.ends, this.pad(),
        make("div", { class: "controls" }, button("curves as CSV", () => this.saveCurves())), code);
    }

    pad() { // a digit that one draws
      this.canvas = make("canvas", { width: 280, height: 280, role: "img",
        "aria-label": "A place to draw a digit with finger or mouse" });
      this.ink = this.canvas.getContext("2d", { willReadFrequently: true });
      let last = null;
      const point = ({ offsetX, offsetY }) => [offsetX, offsetY].map(
        (at) => at / this.canvas.clientWidth * 280);
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
      Object.assign(this, { queue: [], runs: [], tried: null });
      while (this.networks.length > networks.length) this.networks.pop().worker.terminate();
      networks.forEach((settings, i) => {
        const network = this.networks[i];
        if (network) this.restart(Object.assign(network, { settings, own: 0 }));
        else this.start(settings);
      });
      this.complaints.replaceChildren(...(errors.length ? [make("p", {},
        `This link says what cannot be; the rest is set. ${errors.join(" ")}`)] : []));
      this.chosen = "all";
      this.fill();
    }

    start(settings) {
      const network = { settings, letter: LETTERS[this.networks.length], points: [],
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
      const { settings } = network;
      Object.assign(network, { points: [], run: ++this.run, verdict: null, changed: [],
        began: { ...settings } });
      network.worker.postMessage({ start: [this.data.networks[settings.arch], settings],
        run: network.run, go: this.going });
      this.redraw();
    }

    add() {
      if (this.networks.length === LETTERS.length) return;
      const { settings } = this.networks[this.networks.length - 1];
      this.start({ ...settings });
      this.chosen = LETTERS[this.networks.length - 1];
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
      this.send({ go: going });
      this.redraw();
    }
    ended(network) { return Boolean(network.points.at(-1)?.over); }

    manySeeds() { // one after the other, each drawn, the seed that is set as the last
      for (const network of this.networks) network.own = network.own || network.settings.seed;
      this.queue = Array.from({ length: SEEDS }, (_, i) => (this.networks[0].own + i) % SEEDS + 1);
      this.nextSeed();
    }
    ownSeeds(all) { // as they were set; a network that had another starts anew
      for (const network of this.networks) {
        const seed = network.own || network.settings.seed, other = seed !== network.settings.seed;
        Object.assign(network, { own: 0, settings: { ...network.settings, seed } });
        if (all || other) this.restart(network);
      }
      this.fill();
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
      const before = network.points.at(-1) ?? {};
      for (const name of DETAILS) delete before[name];
      network.points.push(point);
      if (point.over) {
        const { letter, began, changed, points } = network, key = keyOf(network);
        const again = (old) => old.letter === letter && old.key === key &&
          old.began.seed === began.seed;
        this.runs = [...this.runs.filter((old) => !again(old)),
          { letter, began, changed, points, key }].slice(-MOST_RUNS);
      }
      if (this.networks.every((n) => this.ended(n))) {
        if (this.queue.length) this.nextSeed();
        else { this.go(false); this.ownSeeds(false); }
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
        Object.assign(network, { own: 0, settings: { ...network.settings, [name]: value } });
        if (!LIVE.includes(name) || !network.points.length || this.ended(network)) {
          this.restart(network);
          continue;
        }
        network.worker.postMessage({ change: { [name]: value } });
        network.changed.push(`${SETTINGS[name][0]} ${value} from epoch ` +
          `${network.points.at(-1).epoch.toFixed(1)} on`);
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
      for (const [name, { box, select }] of Object.entries(this.fields)) {
        box.hidden = !whose.some((n) => applies(name, n.settings));
        const values = whose.map((n) => n.settings[name]), rows = [...SETTINGS[name][1]];
        const one = values.every((value) => value === values[0]);
        if (one && !rows.some(([v]) => v === values[0])) rows.push([values[0], String(values[0])]);
        if (!one) rows.unshift(["", "they differ"]);
        select.replaceChildren(...options(rows, one ? values[0] : ""));
      }
      this.fewer.disabled = this.networks.length === 1;
      this.more.disabled = this.networks.length === LETTERS.length;
      const link = writeLink(this.networks.map((n) => n.settings));
      if (location.hash.includes("=") || link !== "#norm=batch")
        history.replaceState(null, "", link);
      this.showCode();
      this.showExperiment();
      this.redraw();
    }

    showExperiment() { // the one that is set, with whatever seed: its words are those of the page
      const seedless = (all) => writeLink(all.map((settings) => ({ ...settings, seed: 1 })));
      const own = seedless(this.networks.map((n) => n.settings));
      const link = [...document.querySelectorAll("a.try")].find(
        ({ hash }) => seedless(readLink(hash).networks) === own);
      this.experiment.hidden = !link;
      if (link === this.tried) return;
      this.tried = link;
      if (!link) return;
      const place = link.closest("p"), heading = link.closest("section").querySelector("h3");
      this.answer = place.nextElementSibling.cloneNode(true);
      this.answer.hidden = true; // until all have ended
      this.experiment.replaceChildren(
        make("p", { class: "title" }, `Experiment ${heading.firstChild.textContent}`),
        place.previousElementSibling.cloneNode(true), this.answer);
    }

    showCode() {
      const network = this.networks.find((n) => n.letter === this.chosen) || this.networks[0];
      if (network) this.code.textContent = `# ${network.letter}\n` +
        `${inPython(network.settings, this.data.networks)}\n\n${inPapermill(network.settings)}`;
    }

    saveCurves() {
      const names = ["step", "seen", "epoch", "loss", "accuracy", "test_loss", "test_accuracy",
        "batch_accuracy", "norm", "lr", "l1", "l2"];
      const rows = [...this.runs, ...this.networks.filter((n) => !this.ended(n))].flatMap(
        ({ letter, began, points }) => points.map((point) =>
          [letter, began.seed, ...names.map((name) => point[name] ?? "")].join(",")));
      save("curves.csv", "text/csv", [`network,seed,${names}`, ...rows, ""].join("\n"));
    }

    // ---- the picture
    redraw() {
      const over = this.networks.every((n) => this.ended(n));
      this.play.textContent = this.going ? "pause" : over ? "train anew" : "train";
      this.step.disabled = this.epoch.disabled = over;
      if (over && this.tried) this.answer.hidden = false;
      if (this.waiting) return;
      this.waiting = true;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches; // then once a second
      const draw = () => { this.waiting = false; this.draw(); };
      if (still || document.hidden) setTimeout(draw, 1000);
      else requestAnimationFrame(draw);
    }

    state(network) {
      const last = network.points.at(-1);
      if (!last) return "not trained yet";
      const size = Number.isFinite(last.loss) ? "has grown beyond all bounds"
        : "is no number any more";
      if (last.diverged) return `diverged after ${last.step} steps: the loss ${size}`;
      const { norm, epochs, test_batch } = network.settings;
      const usual = this.networks.every((n) => n.settings.test_batch === DEFAULTS.test_batch);
      const second = usual || norm !== "batch" ? "" : " in evaluation mode (in training mode, " +
        `in batches of ${test_batch}: ${share(last.batch_accuracy)})`;
      return `${share(last.test_accuracy)} of the test images right${second}, after ` +
        `${last.epoch.toFixed(1)} of ${epochs} epoch${epochs === 1 ? "" : "s"}`;
    }

    draw() {
      const last = (n) => n.points.at(-1);
      const look = (n) => { // of the networks with one norm, each has a shade of its own
        const place = this.networks.indexOf(n), { norm } = n.settings;
        const before = this.networks.slice(0, place).filter((m) => m.settings.norm === norm).length;
        const { light, dark, dashes } = this.data.looks[norm];
        return { dashes, place, style: `--light: ${light[before]}; --dark: ${dark[before]}` };
      };
      this.cards.replaceChildren(...this.networks.map((n, i) => {
        const point = last(n);
        const line = make("svg", { viewBox: "0 0 46 12", class: "line", "aria-hidden": "true" },
          stroke(look(n), "M0 6H40"), symbol(look(n), 40, 6));
        const wrong = point ? point.wrong.map(([digit, label, said, sure]) => {
          const canvas = this.picture(digit), text = `${label}, taken for ${said}`;
          canvas.setAttribute("role", "img");
          canvas.setAttribute("aria-label", `${text} (${share(sure)} sure)`);
          return make("figure", {}, canvas,
            make("figcaption", { "aria-hidden": "true" }, `${label}→${said}`));
        }) : [];
        const more = point ? [
          make("p", {}, `loss ${long(point.loss)}, test ${long(point.test_loss)}` +
            (point.batch_accuracy === null ? ""
              : `; in training mode ${share(point.batch_accuracy)} right`)),
          make("p", {}, `exact zeros: ${share(point.zeros)} of the weights`),
          make("div", { class: "wrong" }, ...wrong)] : [];
        const twin = this.networks.slice(0, i).find((other) => keyOf(other) === keyOf(n) &&
          other.began.seed === n.began.seed);
        return make("div", { class: "network" }, make("p", { class: "title" }, line,
          ` ${n.letter}: ${nameOf(n, this.networks)}${twin ? `, the same as ${twin.letter}` : ""}`),
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
      const past = this.networks.flatMap((n) => this.runs.filter((run) => run.letter === n.letter &&
        run.key === keyOf(n) && run.began.seed !== n.began.seed).map(
        ({ points }) => ({ n, points, kind: "past" })));
      const most = Math.max(1, ...[...past, ...this.networks].map(
        ({ points }) => points.at(-1)?.epoch ?? 0));
      const curve = ({ n, points, ...how }, name) => ({ x: points.map((p) => p.epoch),
        y: points.map((p) => p[name] ?? NaN), ...look(n), ...how });
      const summary = this.networks.map((n) => `${n.letter}: ${this.state(n)}`).join("; ");
      const overTime = (title, axis, runs, thick, thin, marked = thick) => graph(
        title + (past.length ? "; faint: other seeds" : ""), [
          ...past.filter(({ n }) => runs.includes(n)).map((one) => curve(one, thick)),
          ...runs.flatMap((n) => [[thin, "thin"], [thick, "thick"]].map(([name, kind]) =>
            curve({ n, points: n.points, kind, letter: name === marked && n.letter }, name)))],
        "epochs", [0, most, nice(most)], axis, summary);
      const percentAxis = [0, 1, [0, 0.25, 0.5, 0.75, 1], false, (t) => `${100 * t} %`];
      const trained = this.networks.filter(last);
      const rows = (name) => trained.map((n) => ({ x: last(n)[name].map((_, i) => i + 1),
        y: last(n)[name], ...look(n), letter: n.letter }));
      const byLayer = (title, name, axis, label) => {
        const layers = Math.max(2, ...trained.map((n) => last(n)[name].length));
        return graph(title, rows(name), `${label}, from the image to the scores`,
          [1, layers, [1, Math.ceil(layers / 2), layers]], axis);
      };
      const row = "row of the network (convolution with norm and ReLU, or pooling)";
      const decades = (name) => {
        const values = trained.flatMap((n) => last(n)[name]).filter((v) => v > 0 && v < Infinity);
        const low = Math.floor(Math.log10(Math.min(0.1, ...values)));
        const high = Math.ceil(Math.log10(Math.max(1, ...values)));
        const step = Math.max(1, Math.ceil((high - low) / 5));
        const ticks = [];
        for (let p = low; p <= high; p += step) ticks.push(Number(`1e${p}`));
        return [10 ** low, 10 ** high, ticks, true,
          (t) => t >= 0.001 && t <= 1000 ? t : short(t, 0)];
      };
      const lengths = Math.max(1,
        ...trained.flatMap((n) => last(n).lengths).filter(Number.isFinite));
      const histogram = trained.flatMap((n) => [{ ...look(n),
        x: last(n).histogram.map((_, i, { length }) => (i / (length - 1) * 2 - 1) * 0.8),
        y: last(n).histogram },
      { ...look(n), x: last(n).zeros ? [0] : [], y: [last(n).zeros],
        letter: `${n.letter}: ${share(last(n).zeros)} exact zeros` }]);
      const batch = this.networks.filter((n) => n.settings.norm === "batch");
      this.graphs.replaceChildren(
        overTime("test images right; thin: training images right, as they came in batches",
          percentAxis, this.networks, "test_accuracy", "accuracy"),
        overTime("test loss; thin: training loss, as the images came in batches",
          [0.01, 10, [0.01, 0.1, 1, 10], true], this.networks, "test_loss", "loss"),
        ...(batch.length ? [overTime("batch norm's test images right in evaluation mode; thin: " +
          "in training mode", percentAxis, batch, "test_accuracy", "batch_accuracy",
        "batch_accuracy")] : []),
        byLayer("size of what each row puts out", "sizes", decades("sizes"), row),
        byLayer("size of its gradient", "gradients", decades("gradients"), row),
        byLayer("length of each convolution's weights", "lengths", [0, lengths, nice(lengths)],
          "convolution"),
        graph("weights: how many of which value; a mark at 0: exactly zero", histogram,
          "value of a weight; left and right edge: beyond it",
          [-0.8, 0.8, [-0.8, -0.4, 0, 0.4, 0.8]],
          [0.0005, 1, [0.001, 0.01, 0.1, 1], true, (t) => `${100 * t} %`]));
    }

    drawEnds() { // a row for each setting, whatever the seed
      const groups = [...new Set(this.runs.map((run) => run.key))].map(
        (key) => this.runs.filter((run) => run.key === key));
      this.ends.hidden = !groups.length;
      const rows = groups.map((runs) => {
        const ends = [...new Map(runs.map((run) => [run.began.seed, run.points.at(-1)]))];
        const right = ends.filter(([, point]) => !point.diverged)
          .map(([, point]) => point.test_accuracy);
        const letters = [...new Set(runs.map((run) => run.letter))].join(", ");
        return make("tr", {}, make("th", { scope: "row" },
          `${letters}: ${nameOf(runs[0], groups.map((other) => other[0]), "seed")}`),
        make("td", {}, ends.sort(([a], [b]) => a - b).map(([seed, point]) => `${seed}: ` +
          (point.diverged ? "diverged" : share(point.test_accuracy))).join("; ")),
        make("td", {}, right.length < 2 ? "–"
          : `${share(Math.min(...right))} to ${share(Math.max(...right))}`));
      });
      this.ends.replaceChildren(make("table", {}, make("caption", {}, "Finished runs: test " +
        "images right at the end. One run proves nothing."), make("tr", {},
        ...["network", "seed: right", "range"].map((text) => make("th", { scope: "col" }, text))),
      ...rows.sort((a, b) => a.textContent < b.textContent ? -1 : 1)));
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
        throw new Error("this browser has no WebAssembly with SIMD. Chrome, Edge and Firefox " +
          "have had it since 2021, Safari since 2023");
      root.playground = new Playground(root, data, wasm, await digits(data));
      performance.mark("playground");
    } catch (error) {
      root.prepend(make("p", { role: "alert" }, `No network trains here: ${error.message}.`));
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();

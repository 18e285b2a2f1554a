/* A network of the page, in a thread of its own: settings in, what it has learned out.
 *
 * The mathematics is trainer.c. Here the rows of a table become its layers (as in model.py's Net),
 * the data become those that a recipe trains on (as in take_part()), and steps become epochs and
 * points of a curve (as in loop.py). Settings have the names of the toolbox's Recipe.
 */
"use strict";

const KINDS = { conv: 0, act: 1, norm: 2, maxpool: 3, avgpool: 4 }; // trainer.c's, in its order
const NORMS = ["batch", "layer", "group", "instance", "rms", "none"];
// The words of its structs.
const PARAMETER = ["value", "gradient", "velocity", "size", "penalized", "free"];
const LAYER = ["kind", "channels_in", "channels", "size_in", "size", "kernel", "padding", "used",
  "in", "out", "weight", "gain", "bias", "mean", "scale", "running_mean", "running_variance",
  "size_out", "size_gradient"];
const NET = ["images", "labels", "said", "sure", "order", "parameters", "layers", "parameter_count",
  "layer_count", "hits", "watched", "penalty"];

/* A network of a table of rows, as model.py's Net, and its memory. */
class Network {
  constructor(module, table, count, { norm, groups, order, batch_size, test_batch = 0,
    init, seed }, { mean, std }) {
    this.trainer = new WebAssembly.Instance(module).exports;
    this.norm = norm;
    this.most = Math.max(batch_size, test_batch, 50); // images at once, in a test as well
    this.net = this.trainer.begin(count, table.size, table.classes, this.most, NORMS.indexOf(norm),
      groups, mean, std);
    for (const [layer, channels, kernel, padding, after] of table.rows) {
      this.trainer.add(KINDS[layer], channels, kernel, padding);
      const parts = { block: (order || table.order).split("-"), act: ["act"], "": [] }[after];
      for (const part of parts)
        if (part in KINDS && !(part === "norm" && norm === "none"))
          this.trainer.add(KINDS[part], channels, 0, 0);
    }
    this.trainer.seed(seed);
    this.trainer.initialize(init === "he" ? 1 : 0);
  }

  words(at, names) { // a struct: its integers; floats are read by numbers()
    const view = new Int32Array(this.trainer.memory.buffer, at, names.length);
    return Object.fromEntries(names.map((name, i) => [name, view[i]]));
  }
  numbers(at, count) { return new Float32Array(this.trainer.memory.buffer, at, count); }
  bytes(at, count) { return new Uint8Array(this.trainer.memory.buffer, at, count); }
  get desk() { return this.words(this.net, NET); }
  get layers() {
    const { layers, layer_count } = this.desk;
    return Array.from({ length: layer_count }, (_, i) => {
      const at = layers + 4 * LAYER.length * i;
      const [size_out, size_gradient] = this.numbers(at + 4 * LAYER.indexOf("size_out"), 2);
      return { ...this.words(at, LAYER), size_out, size_gradient };
    });
  }
  get penalty() { return this.numbers(this.net + 4 * NET.indexOf("penalty"), 1)[0]; }
  watch(on) { this.bytes(this.net + 4 * NET.indexOf("watched"), 1)[0] = on; } // the sizes
  sizes() { // of each row but the last: root mean square of what it puts out, and of its gradient
    const ends = ({ kind }) => kind !== KINDS.act && kind !== KINDS.norm;
    return this.layers.filter((layer, i, all) => i + 1 < all.length && ends(all[i + 1]))
      .map((layer) => [layer.size_out, layer.size_gradient]);
  }
  parameters() { // in the order of torch's: arrays that change with the network
    return this.layers.flatMap((layer) => ["weight", "gain", "bias"].flatMap((name) => {
      if (!layer[name] || (name === "bias" && this.norm === "rms")) return []; // which has none
      const found = this.words(layer[name], PARAMETER);
      return [Object.fromEntries(PARAMETER.slice(0, 3).map(
        (part) => [part, this.numbers(found[part], found.size)]))];
    }));
  }
}

const POINT = 1000; // images between two points of a curve, at least a step
const DIVERGED = 1e4; // losses above it are no training any more, as in loop.py
const BINS = 41, WIDEST = 0.8; // of the histogram of weights, from -WIDEST to WIDEST

/* A network, its data and how far it is. data: {pixels, labels, train, mean, std}. */
class Training {
  constructor(module, data, table, settings) {
    Object.assign(this, { data, settings: { ...settings }, step: 0, seen: 0, grown: 1,
      diverged: false });
    const { train_size, label_noise } = settings, size = table.size ** 2;
    this.tests = train_size; // where the test images begin; the last image is one that is drawn
    this.count = train_size + data.labels.length - data.train;
    this.network = new Network(module, table, this.count + 1, settings, data);
    const { trainer, desk } = this.network;
    const images = this.network.bytes(desk.images, this.count * size);
    const labels = this.labels = this.network.bytes(desk.labels, this.count);
    this.order = new Int32Array(trainer.memory.buffer, desk.order, this.count + 1);
    this.order.forEach((_, i, order) => { order[i] = i; });
    const drawn = Array.from({ length: data.train }, (_, i) => i);
    this.shuffle(drawn);
    for (let i = 0; i < this.count; i++) {
      const from = i < train_size ? drawn[i] : this.inData(i);
      images.set(data.pixels.subarray(from * size, (from + 1) * size), i * size);
      labels[i] = data.labels[from];
    }
    for (let i = 0; i < Math.round(label_noise * train_size); i++)
      labels[i] = (labels[i] + 1 + trainer.below(9)) % 10;
    this.perEpoch = Math.ceil(train_size / settings.batch_size);
    this.steps = this.perEpoch * settings.epochs;
    this.newPoint();
  }

  inData(i) { return i - this.tests + this.data.train; } // of test image i, its number in the data
  shuffle(list) {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.network.trainer.below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
  }

  newPoint() { Object.assign(this, { loss: 0, hits: 0, images: 0 }); }
  get over() { return this.diverged || this.step >= this.steps; }

  takeStep() {
    const { batch_size, lr, schedule, momentum, l1, l2, l1_step, l2_step } = this.settings;
    const { trainer } = this.network;
    const at = this.step % this.perEpoch * batch_size;
    if (!at) this.shuffle(this.order.subarray(0, this.tests));
    const n = Math.min(batch_size, this.tests - at);
    const rate = schedule === "constant" ? lr : trainer.one_cycle(lr, this.step, this.steps);
    let free = 0; // see rate_for_l2() in updates.py
    if (l2_step === "learning_rate") {
      const growing = this.grown / (1 - rate * l2);
      free = rate * this.grown * growing;
      this.grown = growing;
    }
    const ends = this.images + n >= POINT || this.step + 1 === this.steps;
    this.network.watch(ends);
    const loss = trainer.train(at, n, rate, momentum, l1, l2, l1_step === "proximal" ? 1 : 0, free);
    this.step++;
    this.seen += n;
    this.images += n;
    this.loss += loss * n;
    this.hits += this.network.desk.hits;
    this.diverged = !(loss <= DIVERGED); // nor is what is no number
    return ends || this.diverged;
  }

  test(training, batch) { // mean loss and share of right answers, of all test images
    let loss = 0, hits = 0;
    for (let at = this.tests; at < this.count; at += batch) {
      loss += this.network.trainer.test(at, Math.min(batch, this.count - at), training);
      hits += this.network.desk.hits;
    }
    return [loss / (this.count - this.tests), hits / (this.count - this.tests)];
  }

  /* What the page shows of a network, after so many steps. */
  point() {
    const { norm, test_batch, lr, l1, l2 } = this.settings;
    const { network, images, labels, count } = this;
    const batch_accuracy = norm === "batch" ? this.test(2, test_batch)[1] : null;
    const [test_loss, test_accuracy] = this.test(0, 50);
    const { said, sure } = network.desk, wrong = [];
    const says = network.bytes(said, count), how = network.numbers(sure, count);
    for (let i = this.tests; i < count && wrong.length < 8; i++)
      if (says[i] !== labels[i]) wrong.push([this.inData(i), labels[i], says[i], how[i]]);
    const histogram = Array(BINS).fill(0);
    let zeros = 0, weights = 0;
    const lengths = network.layers.filter((layer) => layer.weight).map((layer) => {
      const { value } = network.words(layer.weight, PARAMETER), { channels, used } = layer;
      let sum = 0;
      network.numbers(value, network.words(layer.weight, PARAMETER).size).forEach((w, i) => {
        if (i % channels >= used) return; // fills up a vector
        weights++;
        if (w === 0) { zeros++; return; } // apart from what is only near it
        const bin = Math.round((w / WIDEST + 1) / 2 * (BINS - 1));
        histogram[Math.max(0, Math.min(BINS - 1, bin)) || 0]++;
        sum += w * w;
      });
      return Math.sqrt(sum);
    });
    const sizes = network.sizes();
    this.diverged ||= !(test_loss <= DIVERGED);
    const result = { step: this.step, seen: this.seen, epoch: this.step / this.perEpoch,
      loss: this.loss / images, accuracy: this.hits / images, test_loss, test_accuracy,
      batch_accuracy, sizes: sizes.map((pair) => pair[0]), gradients: sizes.map((pair) => pair[1]),
      lengths, zeros: zeros / weights, histogram: histogram.map((n) => n / weights), wrong,
      diverged: this.diverged, over: this.over, norm, lr, l1, l2 };
    this.newPoint();
    return result;
  }

  judge(pixels) { // what the network says of an image: the class and its probability
    const { network, count: last } = this, size = pixels.length;
    network.bytes(network.desk.images + last * size, size).set(pixels);
    network.trainer.test(last, 1, 0);
    return [network.bytes(network.desk.said, last + 1)[last],
      network.numbers(network.desk.sure, last + 1)[last]];
  }
}

// ------------------------------------------------------------------------------- the thread
/* The page sends {setup: [trainer.wasm, data]}, {start: [table, settings], run}, {change: settings
 * that need no new start}, {go: true or false}, {steps: how many, then wait}, {draw: pixels}. */
function listen() {
  let module, data, training = null, going = false, working = false, left = 0, drawn = null;
  const tell = (kind, what) => postMessage({ kind, run: training.run, ...what });
  const judge = () => { if (drawn && training) tell("judged", { says: training.judge(drawn) }); };
  function work() { // for some milliseconds, then look for messages
    const until = performance.now() + 40;
    while ((going || left > 0) && !training.over && performance.now() < until) {
      const ends = training.takeStep();
      left = Math.max(0, left - 1);
      if (ends || (!going && !left)) { tell("point", training.point()); judge(); }
    }
    working = (going || left > 0) && !training.over;
    if (working) setTimeout(work);
  }
  onmessage = ({ data: { setup, start, change, go, steps, draw, run } }) => {
    if (setup) { module = new WebAssembly.Module(setup[0]); data = setup[1]; }
    if (start) {
      training = Object.assign(new Training(module, data, ...start), { run });
      left = 0;
      judge();
    }
    if (change) Object.assign(training.settings, change);
    if (go !== undefined) going = go;
    if (steps === "epoch") left = training.perEpoch - training.step % training.perEpoch;
    else if (steps) left = steps;
    if (draw) { drawn = draw; judge(); }
    if (training && !working) work();
  };
}
if (typeof document === "undefined" && typeof postMessage === "function") listen();

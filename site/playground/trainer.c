/* The networks of model.py and a step of their training, for the page on which they train.
 *
 * Read from top to bottom: memory and random numbers, the normalizations, what else a network is
 * made of, the network that a table of rows builds, the loss, a step. Above each backward stands
 * its formula: dz is the derivative of the loss by z. One instance of this module is one network.
 *
 * Shapes, everywhere: N images in a batch, H x W positions (H = W), C channels, which lie last in
 * memory and in vectors of four, so C is a multiple of four there (of ten classes, twelve numbers
 * with two that stay zero); images alone have C = 1. Tested against PyTorch, step by step:
 * tests/test_playground.py.
 */
#include <math.h>
#include <string.h>

typedef float four __attribute__((vector_size(16)));
#define EXPORT(name) __attribute__((export_name(#name))) name
#define MOST_CHANNELS 16
#define EPSILON 1e-5f

// ------------------------------------------------------------------- memory, random numbers
extern char __heap_base;
static unsigned long taken;  // bytes that are given away; nothing is given back

static void *take(unsigned long bytes) {
  if (!taken) taken = (unsigned long)&__heap_base;
  char *place = (char *)((taken + 15) & -16ul);
  taken = (unsigned long)place + bytes;
  long missing = (long)(taken >> 16) + 1 - (long)__builtin_wasm_memory_size(0);
  if (missing > 0 && __builtin_wasm_memory_grow(0, missing) == -1ul) __builtin_trap();
  return place;  // new memory is zero
}

static float *floats(int count) { return take(sizeof(float) * count); }

static unsigned long long state;

void EXPORT(seed)(unsigned number) { state = number * 0x9E3779B97F4A7C15ull + 1; }

static unsigned bits(void) {  // SplitMix64, its upper half
  unsigned long long z = state += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return (z ^ (z >> 31)) >> 32;
}

unsigned EXPORT(below)(unsigned count) { return bits() * (unsigned long long)count >> 32; }

static double uniform(void) { return (bits() + 0.5) / 4294967296.0; }  // between 0 and 1

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform()); }

// ---------------------------------------------------------------------------- a network's parts
typedef struct {
  float *value, *gradient, *velocity;
  int size, penalized, free;  // L1 and L2 act on weights of convolutions; free: before a norm
} Parameter;

typedef enum { CONV, RELU, NORM, MAXPOOL, AVGPOOL } Kind;

typedef struct {
  Kind kind;
  int channels_in, channels, size_in, size, kernel, padding, used;  // used: channels that count
  float *in, *out;  // (N, size_in, size_in, channels_in), (N, size, size, channels)
  Parameter *weight, *gain, *bias;
  float *mean, *scale, *mean_g, *mean_gy;  // of a norm, for the last batch: (N, C)
  float *running_mean, *running_variance;  // (C)
  float size_out, size_gradient;  // root mean square of out and of its gradient, if watched
} Layer;

static Parameter parameters[64];
static Layer layers[64];
static int norm, groups, most_images;

// ------------------------------------------------------------------- normalization, by hand
enum { ONE, A_GROUP, ALL };
static const struct {
  int images, channels;  // does the whole batch share a mean, or an image? Which of its channels?
  int subtracts, by_element;  // is the mean subtracted? Is the gain one per element, without bias?
} NORMS[] = {  // in the order of model.py's NORMS; "none" builds no layer
    {1, ONE, 1, 0},      // batch
    {0, ALL, 1, 0},      // layer, with a gain and a bias per channel
    {0, A_GROUP, 1, 0},  // group
    {0, ONE, 1, 0},      // instance
    {0, ALL, 0, 1},      // rms
};
enum { BATCH, NONE = 5 };

/* Of values (N, C), sums over P positions, each becomes the mean of those that share one. */
static void share(float *values, int n, int C, int P) {
  int images = NORMS[norm].images ? n : 1;
  int width = NORMS[norm].channels == ONE ? 1 : NORMS[norm].channels == ALL ? C : C / groups;
  for (int first = 0; first < n; first += images)
    for (int c = 0; c < C; c += width) {
      float sum = 0;
      for (int i = first; i < first + images; i++)
        for (int k = c; k < c + width; k++) sum += values[i * C + k];
      for (int i = first; i < first + images; i++)
        for (int k = c; k < c + width; k++) values[i * C + k] = sum / (images * width * P);
    }
}

#define EACH for (int i = 0; i < n; i++) for (int p = 0; p < P; p++) for (int c = 0; c < C; c++)
#define AT ((i * P + p) * C + c)  // of image i, position p, channel c ...
#define OWN (i * C + c)  // ... its mean
#define TO (by_element ? p * C + c : c)  // ... and its gain

/* y = (x - mean) / sqrt(variance + epsilon), out = gain y + bias. training: 1 and 2 take the
 * statistics of the batch, 1 moves the running ones; 0 takes these. */
static void normalize(Layer *l, int n, int training) {
  int C = l->channels, P = l->size * l->size, by_element = NORMS[norm].by_element;
  float *restrict x = l->in, *restrict out = l->out, *restrict gain = l->gain->value;
  float *restrict bias = l->bias->value, *restrict mean = l->mean, *restrict scale = l->scale;
  memset(mean, 0, sizeof(float) * n * C), memset(scale, 0, sizeof(float) * n * C);
  if (norm == BATCH && !training) {
    for (int i = 0; i < n * C; i++)
      mean[i] = l->running_mean[i % C], scale[i] = l->running_variance[i % C];
  } else {
    if (NORMS[norm].subtracts) EACH mean[OWN] += x[AT];
    share(mean, n, C, P);
    EACH scale[OWN] += (x[AT] - mean[OWN]) * (x[AT] - mean[OWN]);
    share(scale, n, C, P);
    for (int c = 0; norm == BATCH && training == 1 && c < C; c++) {  // a tenth of the way
      l->running_mean[c] += 0.1f * (mean[c] - l->running_mean[c]);
      l->running_variance[c] += 0.1f * (scale[c] * n * P / (n * P - 1) - l->running_variance[c]);
    }
  }
  for (int i = 0; i < n * C; i++) scale[i] = 1 / sqrtf(scale[i] + EPSILON);
  EACH out[AT] = (x[AT] - mean[OWN]) * scale[OWN] * gain[TO] + bias[c];
}

/* dbias = sum dout, dgain = sum dout y; with g = dout gain, and means over those that share one:
 * dx = (g - mean(g) - y mean(g y)) / sqrt(variance + epsilon); without mean(g) in RMS norm. */
static void normalize_backward(Layer *l, int n, float *restrict dout) {  // dout becomes dx
  int C = l->channels, P = l->size * l->size, by_element = NORMS[norm].by_element;
  float *restrict x = l->in, *restrict gain = l->gain->value, *restrict mean = l->mean;
  float *restrict scale = l->scale, *restrict dgain = l->gain->gradient;
  float *restrict dbias = l->bias->gradient, *restrict g = l->mean_g, *restrict gy = l->mean_gy;
  memset(g, 0, sizeof(float) * n * C), memset(gy, 0, sizeof(float) * n * C);
#define Y ((x[AT] - mean[OWN]) * scale[OWN])
  if (!by_element) EACH dbias[c] += dout[AT];  // else it stays zero
  EACH dgain[TO] += dout[AT] * Y;
  if (NORMS[norm].subtracts) EACH g[OWN] += dout[AT] * gain[TO];
  EACH gy[OWN] += dout[AT] * gain[TO] * Y;
  share(g, n, C, P), share(gy, n, C, P);
  EACH dout[AT] = (dout[AT] * gain[TO] - g[OWN] - Y * gy[OWN]) * scale[OWN];
#undef Y
}

// ------------------------------------------------------------------------------ convolution
/* An image (size, size, C) with zeros around it, if there are to be any. */
static const float *frame(const float *in, int size, int C, int padding) {
  static float framed[40 * 40 * MOST_CHANNELS] __attribute__((aligned(16)));
  int row = (size + 2 * padding) * C;
  if (!padding) return in;
  memset(framed, 0, sizeof(float) * row * (size + 2 * padding));
  for (int y = 0; y < size; y++)
    memcpy(framed + (y + padding) * row + padding * C, in + y * size * C, sizeof(float) * size * C);
  return framed;
}

typedef struct { int lines, count, next; } Walk;  // numbers in a line, and from one to the next

#define INLINE static inline __attribute__((always_inline))  // where V and P are constants

/* out(p, :) += sum over lines m and numbers j of in(m row + j over.next + p next) by(m, j, :), for
 * P of out at once, each V vectors: as many as registers hold. */
INLINE void tile(const float *in, int row, const four *by, Walk over, four *out, int next,
                 const int V, const int P) {
  four sum[P][V];
  memset(sum, 0, sizeof sum);
  for (int m = 0; m < over.lines; m++, in += row) {
    const float *x = in;
    for (int j = 0; j < over.count; j++, x += over.next, by += V)
      for (int p = 0; p < P; p++)
        for (int v = 0; v < V; v++) sum[p][v] += x[p * next] * by[v];
  }
  for (int i = 0; i < P * V; i++) out[i] += sum[i / V][i % V];
}

INLINE void tiles(const float *in, int row, const float *by, Walk over, float *out, Walk to,
                  const int V, const int P) {
  for (int line = 0; line < to.lines; line++)
    for (int i = 0, done; i < to.count; i += done, out += 4 * V * done) {
      const float *from = in + line * row + i * to.next;
      done = i + P <= to.count ? P : 1;
      if (done == P) tile(from, row, (four *)by, over, (four *)out, to.next, V, P);
      else tile(from, row, (four *)by, over, (four *)out, to.next, V, 1);
    }
}

static void sums(const float *in, int row, const float *by, Walk over, float *out, Walk to, int C) {
  if (C == 16) tiles(in, row, by, over, out, to, 4, 2);
  else if (C == 12) tiles(in, row, by, over, out, to, 3, 3);
  else if (C == 8) tiles(in, row, by, over, out, to, 2, 3);
  else __builtin_trap();
}

/* out(y, x, :) = sum over ky, kx, c of in(y + ky, x + kx, c) weight(ky, kx, c, :) */
static void convolve(const float *in, const float *weight, float *out, int n, int size_in, int C,
                     int size, int D, int K, int padding) {
  memset(out, 0, sizeof(float) * n * size * size * D);
  for (int i = 0; i < n; i++)
    sums(frame(in + i * size_in * size_in * C, size_in, C, padding), (size_in + 2 * padding) * C,
         weight, (Walk){K, K * C, 1}, out + i * size * size * D, (Walk){size, size, C}, D);
}

/* dweight(ky, kx, c, :) = sum over images, y, x of in(y + ky, x + kx, c) dout(y, x, :): as above,
 * with the positions and the weights in each other's place;
 * din is a convolution, too: of dout with K - 1 - padding zeros around it and the weights turned by
 * half a circle, from the channels that come out to those that go in. */
static void convolve_backward(Layer *l, int n, const float *dout, float *din) {
  static float turned[9 * MOST_CHANNELS * MOST_CHANNELS] __attribute__((aligned(16)));
  int K = l->kernel, C = l->channels_in, D = l->channels, S = l->size, S_in = l->size_in;
  for (int i = 0; i < n; i++)
    sums(frame(l->in + i * S_in * S_in * C, S_in, C, l->padding), (S_in + 2 * l->padding) * C,
         dout + i * S * S * D, (Walk){S, S, C}, l->weight->gradient, (Walk){K, K * C, 1}, D);
  if (l == layers) return;  // nobody asks for the derivative by the images
  for (int tap = 0; tap < K * K; tap++)
    for (int c = 0; c < C; c++)
      for (int d = 0; d < D; d++)
        turned[((K * K - 1 - tap) * D + d) * C + c] = l->weight->value[(tap * C + c) * D + d];
  convolve(dout, turned, din, n, S, D, S_in, C, K, K - 1 - l->padding);
}

// ----------------------------------------------------------------- what has no parameters
/* ReLU, in place: out = max(x, 0); dx = dout where out > 0, else 0. What is no number stays so. */
static void relu(float *x, int count) {
  for (int i = 0; i < count; i++) x[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_backward(const float *restrict out, float *restrict dout, int count) {
  for (int i = 0; i < count; i++) dout[i] = out[i] <= 0 ? 0 : dout[i];
}

/* Of K x K positions the maximum: out = max(in), din = dout at the first that has it, else 0;
 * or the average: out = sum(in) / K^2, din = dout / K^2. With dout it goes backward. */
static void pool(const Layer *l, int n, const float *dout, float *din) {
  int C = l->channels, K = l->kernel, S = l->size, row = l->size_in * C;
  if (dout) memset(din, 0, sizeof(float) * n * l->size_in * row);
  for (int line = 0, at = 0; line < n * S; line++)
    for (int x = 0; x < S; x++)
      for (int c = 0; c < C; c++, at++) {
        int corner = (line / S * l->size_in + line % S * K) * row + x * K * C + c, first = corner;
        float sum = 0;
        for (int from = corner; from < corner + K * row; from += row - K * C)
          for (int end = from + K * C; from < end; from += C) {
            sum += l->in[from];
            if (!(l->in[from] <= l->in[first])) first = from;  // or it is no number
            if (dout && l->kind == AVGPOOL) din[from] = dout[at] / (K * K);
          }
        if (!dout) l->out[at] = l->kind == MAXPOOL ? l->in[first] : sum / (K * K);
        else if (l->kind == MAXPOOL) din[first] = dout[at];
      }
}

// ------------------------------------------------------------------------------ the network
static struct {  // what the page reads and writes
  unsigned char *images, *labels, *said;  // (M, S, S); of each image its class, and what we say
  float *sure;  // the probability of what we say
  int *order;  // numbers of images, in the order in which steps and tests take them
  Parameter *parameters;
  Layer *layers;
  int parameter_count, layer_count, hits, watched;
  float penalty;
} net = {.parameters = parameters, .layers = layers};
static int image_size, classes;
static float mean_pixel, std_pixel, *input, *gradients[2];  // (N, S, S); of what a layer puts out

void *EXPORT(begin)(int count, int size, int of_classes, int batch, int norm_, int groups_,
                    float mean, float std) {
  image_size = size, classes = of_classes, most_images = batch, norm = norm_, groups = groups_;
  mean_pixel = mean, std_pixel = std;
  net.images = take(count * size * size), net.labels = take(count), net.said = take(count);
  net.sure = floats(count), net.order = take(sizeof(int) * count);
  input = floats(batch * size * size);
  return &net;
}

static Parameter *parameter(int size, int penalized, float value) {
  Parameter *made = &parameters[net.parameter_count++];
  *made = (Parameter){floats(size), floats(size), floats(size), size, penalized};
  for (int i = 0; i < size; i++) made->value[i] = value;
  return made;
}

/* A layer upon those that are there. kernel 0, of the average: all positions that are left. */
void EXPORT(add)(Kind kind, int channels, int kernel, int padding) {
  Layer *l = &layers[net.layer_count++], *under = l > layers ? l - 1 : 0;
  *l = (Layer){kind, 1, (channels + 3) & ~3, image_size, .in = input, .padding = padding};
  if (under) l->channels_in = under->channels, l->size_in = under->size, l->in = under->out;
  l->size = l->size_in;
  l->kernel = kernel ? kernel : l->size_in, l->used = channels;
  if (kind == CONV) l->size = l->size_in + 2 * padding - kernel + 1;
  if (kind == MAXPOOL || kind == AVGPOOL) l->size = l->size_in / l->kernel;
  int C = l->channels, outputs = l->size * l->size * C;
  l->out = kind == RELU ? l->in : floats(most_images * outputs);
  if (kind == CONV) l->weight = parameter(kernel * kernel * l->channels_in * C, 1, 0);
  if (kind != NORM) return;
  for (Layer *conv = l - 1; ; conv--)
    if (conv->kind == CONV) { conv->weight->free = 1; break; }
  l->gain = parameter(NORMS[norm].by_element ? outputs : C, 0, 1);
  l->bias = parameter(C, 0, 0);
  for (int i = 0; i < 4; i++) (&l->mean)[i] = floats(most_images * C);
  l->running_mean = floats(C), l->running_variance = floats(C);
  for (int c = 0; c < C; c++) l->running_variance[c] = 1;
}

/* Draw the weights: He's, normal with variance 2 / fan_in; or PyTorch's, uniform within
 * 1 / sqrt(fan_in), fan_in being the numbers that one output is a sum of. */
void EXPORT(initialize)(int he) {
  int most = 0;
  for (Layer *l = layers; l < layers + net.layer_count; l++) {
    int outputs = l->size * l->size * l->channels;
    most = outputs > most ? outputs : most;
    for (int i = 0; l->kind == CONV && i < l->weight->size; i++) {
      double fan_in = l->kernel * l->kernel * l->channels_in;
      double drawn = he ? normal() * sqrt(2 / fan_in) : (2 * uniform() - 1) / sqrt(fan_in);
      if (i % l->channels < l->used) l->weight->value[i] = drawn;
    }
  }
  for (int i = 0; i < 2; i++) gradients[i] = floats(most_images * most);
}

static float size_of(const float *x, int count) {  // root mean square
  double sum = 0;
  for (int i = 0; i < count; i++) sum += (double)x[i] * x[i];
  return sqrt(sum / count);
}

/* Scores (N, classes, in vectors) of images first, first + 1 ... of net.order. */
static float *forward(int first, int n, int training) {
  for (int i = 0, P = image_size * image_size; i < n * P; i++) {
    unsigned char pixel = net.images[net.order[first + i / P] * P + i % P];
    input[i] = (pixel / 255.f - mean_pixel) / std_pixel;
  }
  for (Layer *l = layers; l < layers + net.layer_count; l++) {
    int outputs = n * l->size * l->size * l->channels;
    if (l->kind == CONV) convolve(l->in, l->weight->value, l->out, n, l->size_in, l->channels_in,
                                  l->size, l->channels, l->kernel, l->padding);
    else if (l->kind == RELU) relu(l->out, outputs);
    else if (l->kind == NORM) normalize(l, n, training);
    else pool(l, n, 0, 0);
    if (net.watched) l->size_out = size_of(l->out, outputs);
  }
  return layers[net.layer_count - 1].out;
}

/* log p(k) = score(k) - log sum over j of exp(score(j)), loss = - sum of log p(label) / N,
 * dscore(k) = (p(k) - [k is the label]) / N. Returns the sum; net.hits: how many are right. */
static double losses(const float *scores, int first, int n, float *dscores) {
  double loss = 0;
  net.hits = 0;
  for (int i = 0, C = layers[net.layer_count - 1].channels; i < n; i++, scores += C) {
    int image = net.order[first + i], label = net.labels[image], best = 0;
    for (int k = 1; k < classes; k++) if (scores[k] > scores[best]) best = k;
    double sum = 0;
    for (int k = 0; k < classes; k++) sum += exp(scores[k] - scores[best]);
    loss += log(sum) + scores[best] - scores[label];
    net.hits += best == label, net.said[image] = best, net.sure[image] = 1 / sum;
    for (int k = 0; dscores && k < C; k++)
      dscores[i * C + k] = k < classes ?
        (exp(scores[k] - scores[best]) / sum - (k == label)) / n : 0;
  }
  return loss;
}

/* Sum of the losses. training 2: batch norm takes the statistics of these n images. */
double EXPORT(test)(int first, int n, int training) {
  return losses(forward(first, n, training), first, n, 0);
}

static void backward(int n) {  // from gradients[0] down; a layer in place, or from one to the other
  float *dout = gradients[0], *din = gradients[1];
  for (Layer *l = layers + net.layer_count - 1; l >= layers; l--) {
    int outputs = n * l->size * l->size * l->channels;
    if (net.watched) l->size_gradient = size_of(dout, outputs);
    if (l->kind == RELU) relu_backward(l->out, dout, outputs);
    else if (l->kind == NORM) normalize_backward(l, n, dout);
    else {
      if (l->kind == CONV) convolve_backward(l, n, dout, din);
      else pool(l, n, dout, din);
      float *swap = dout;
      dout = din, din = swap;
    }
  }
}

// ------------------------------------------------------------------------ what a step changes
/* penalty = l1 sum |w| + l2 / 2 sum w^2, gradient g += l1 sign(w) + l2 w; velocity
 * v = momentum v + g; w -= rate (g + momentum v), Nesterov's. A proximal step of L1 leaves g alone:
 * afterwards w goes towards zero by rate l1 / (1 - momentum), and to zero, never past it. Weights
 * before a norm have no penalty and the rate free_rate, if there is one. */
static void take_step(float rate, float momentum, float l1, float l2, int proximal,
                      float free_rate) {
  double penalty = 0;
  for (Parameter *p = parameters; p < parameters + net.parameter_count; p++) {
    int penalized = p->penalized && !(p->free && free_rate);
    float own = p->free && free_rate ? free_rate : rate;
    for (int i = 0; i < p->size; i++) {
      float *w = p->value + i, *g = p->gradient + i, *v = p->velocity + i;
      if (penalized) {
        penalty += l1 * fabsf(*w) + l2 / 2 * *w * *w;
        *g += (proximal ? 0 : l1 * ((*w > 0) - (*w < 0))) + l2 * *w;
      }
      *v = momentum * *v + *g;
      *w -= own * (*g + momentum * *v);
      float left = fabsf(*w) - rate * l1 / (1 - momentum);
      if (penalized && proximal) *w = left <= 0 ? 0 : copysignf(left, *w);
    }
  }
  net.penalty = penalty;
}

/* Train on n images. Returns their mean loss before the step. */
double EXPORT(train)(int first, int n, float rate, float momentum, float l1, float l2, int proximal,
                     float free_rate) {
  for (Parameter *p = parameters; p < parameters + net.parameter_count; p++)
    memset(p->gradient, 0, sizeof(float) * p->size);
  double loss = losses(forward(first, n, 1), first, n, gradients[0]) / n;
  backward(n);
  take_step(rate, momentum, l1, l2, proximal, free_rate);
  return loss;
}

/* The learning rate of a step: up from lr / 25 to lr in the first 30 %, then down. */
double EXPORT(one_cycle)(double lr, int step, int steps) {
  double top = 0.3 * steps - 1, end = steps - 1, down = step > top;
  double start = down ? lr : lr / 25, stop = down ? lr / 25e4 : lr;
  double share = down ? (step - top) / (end - top) : step / top;
  return stop + (start - stop) * (1 + cos(M_PI * share)) / 2;
}

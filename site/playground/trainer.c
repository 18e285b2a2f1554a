/* The networks of model.py and a step of their training, for the page on which they train.
 *
 * Shapes, everywhere: N images in a batch, H x W positions (H = W), C channels, which lie last in
 * memory and in vectors of four, so C is a multiple of four there (of ten classes, twelve numbers
 * with two that stay zero); images alone have C = 1. dz is the derivative of the loss by z, and
 * takes z's place in memory. Tested against PyTorch, step by step: tests/test_playground.py.
 */
#include <string.h>
#include "parts.h"

typedef float four __attribute__((vector_size(16)));
#define INLINE static inline __attribute__((always_inline))
#define EPSILON 1e-5f
enum { MOST_CHANNELS = 16, MOST_NUMBERS = 32 * 32 * MOST_CHANNELS };  // of an image in a layer
static int norm, groups, image_size, classes, most_images, first_image;  // the batch's, in order
static float mean_pixel, std_pixel;
static float *mean_g, *mean_gy;  // (N, C), of a norm's backward
static float *shared;  // what norms put out, one after the other: made again where it is needed

/* ReLU, in place: out = max(x, 0); what is no number stays so. dx = dout where out > 0, else 0: by
 * the layer above, when it puts dout in the place of out. */
static void rectify(float *x, int count) {
  for (int i = 0; i < count; i++) x[i] = x[i] < 0 ? 0 : x[i];
}
INLINE void put(float *out, float dout, int relu) { *out = relu && *out <= 0 ? 0 : dout; }

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
enum { BATCH };
typedef enum { EVAL, TRAIN, OWN_STATISTICS, AGAIN } Mode;  // AGAIN: those that the last call took

/* Of values (N, C), sums over P positions, each becomes the mean of those that share one. */
static void share(float *values, int n, int C, int P) {
  int images = NORMS[norm].images ? n : 1;
  int width = NORMS[norm].channels == ONE ? 1 : NORMS[norm].channels == ALL ? C : C / groups;
#define SHARING for (int i = first; i < first + images; i++) for (int k = c; k < c + width; k++)
  for (int first = 0; first < n; first += images)
    for (int c = 0; c < C; c += width) {
      float sum = 0;
      SHARING sum += values[i * C + k];
      SHARING values[i * C + k] = sum / (images * width * P);
    }
}

#define EACH for (int i = 0; i < n; i++) for (int p = 0; p < P; p++) for (int c = 0; c < C; c++)
#define AT ((i * P + p) * C + c)  // of image i, position p, channel c ...
#define OWN (i * C + c)  // ... its mean
#define TO (by_element ? p * C + c : c)  // ... and its gain
#define Y ((x[AT] - mean[OWN]) * scale[OWN])
#define OF_NORM int C = l->channels, P = l->size * l->size, by_element = NORMS[norm].by_element; \
  float *restrict x = l->in, *restrict mean = l->mean, *restrict scale = l->scale; \
  float *restrict gain = l->gain->value, *restrict out = l->out

/* y = (x - mean) / sqrt(variance + epsilon), out = gain y + bias. */
static void normalize(Layer *l, int n, Mode mode) {
  OF_NORM, *restrict bias = l->bias->value;
  int running = norm == BATCH && mode == EVAL;
  for (int i = 0; mode != AGAIN && i < n * C; i++) {
    mean[i] = running ? l->running_mean[i % C] : 0;
    scale[i] = running ? l->running_variance[i % C] : 0;
  }
  if (mode != AGAIN && !running) {
    if (NORMS[norm].subtracts) EACH mean[OWN] += x[AT];
    share(mean, n, C, P);
    EACH scale[OWN] += (x[AT] - mean[OWN]) * (x[AT] - mean[OWN]);
    share(scale, n, C, P);
  }
  for (int c = 0; norm == BATCH && mode == TRAIN && c < C; c++) {  // a tenth of the way
    l->running_mean[c] += 0.1f * (mean[c] - l->running_mean[c]);
    l->running_variance[c] += 0.1f * (scale[c] * n * P / (n * P - 1) - l->running_variance[c]);
  }
  for (int i = 0; mode != AGAIN && i < n * C; i++) scale[i] = 1 / sqrtf(scale[i] + EPSILON);
  EACH out[AT] = Y * gain[TO] + bias[c];
}

/* dbias = sum dout, dgain = sum dout y; with g = dout gain, and means over those that share one:
 * dx = (g - mean(g) - y mean(g y)) / sqrt(variance + epsilon); without mean(g) in RMS norm. */
static void normalize_backward(Layer *l, int n, int relu) {
  OF_NORM, *restrict dgain = l->gain->gradient, *restrict dbias = l->bias->gradient;
  float *restrict g = mean_g, *restrict gy = mean_gy;
  memset(g, 0, 4 * n * C), memset(gy, 0, 4 * n * C);
  if (!by_element) EACH dbias[c] += out[AT];  // else it stays zero
  EACH dgain[TO] += out[AT] * Y;
  if (NORMS[norm].subtracts) EACH g[OWN] += out[AT] * gain[TO];
  EACH gy[OWN] += out[AT] * gain[TO] * Y;
  share(g, n, C, P), share(gy, n, C, P);
  EACH put(&x[AT], (out[AT] * gain[TO] - g[OWN] - Y * gy[OWN]) * scale[OWN], relu);
}

// ------------------------------------------------------------------------------ convolution
static float *input(const Layer *l, int i) {  // image i of the batch, as a layer gets it
  static float pixels[MOST_NUMBERS];
  int P = l->size_in * l->size_in;
  if (l->in) return l->in + i * P * l->channels_in;
  for (int p = 0; p < P; p++)
    pixels[p] = (net.images[net.order[first_image + i] * P + p] / 255.f - mean_pixel) / std_pixel;
  return pixels;
}

typedef struct { int lines, count, next; } Walk;  // numbers in a line, and from one to the next

/* out(m, p, :) += sum over lines i and numbers j of in(m row + p to.next + i row + j over.next)
 * by(i, j, :), for P of out at once, each V vectors: constants, as many as registers hold. */
INLINE void tiles(const float *in, int row, const four *by, Walk over, four *out, Walk to,
                  const int V, const int P) {
  for (int m = 0; m < to.lines; m++, in += row, out += to.count * V)
    for (int p = 0; p < to.count; p += P) {
      const four *weight = by;
      const float *at[P];
      four sum[P][V];
      memset(sum, 0, sizeof sum);
      for (int k = 0; k < P; k++) at[k] = in + (p + k < to.count ? p + k : p) * to.next;
      for (int i = 0; i < over.lines; i++)
        for (int j = 0; j < over.count; j++, weight += V)
          for (int k = 0; k < P; k++)
            for (int v = 0; v < V; v++) sum[k][v] += at[k][i * row + j * over.next] * weight[v];
      for (int k = 0; k < P && p + k < to.count; k++)
        for (int v = 0; v < V; v++) out[(p + k) * V + v] += sum[k][v];
    }
}

static void sums(const float *image, int size, int C, int padding, const float *by, Walk over,
                 float *out, Walk to, int D) {  // of an image (size, size, C), with zeros around it
  static float framed[MOST_NUMBERS];
  int row = (size + 2 * padding) * C;
  if (padding) memset(framed, 0, 4 * row * (size + 2 * padding));
  for (int y = 0; padding && y < size; y++)
    memcpy(framed + (y + padding) * row + padding * C, image + y * size * C, 4 * size * C);
  const float *in = padding ? framed : image;
  if (D == 16) tiles(in, row, (four *)by, over, (four *)out, to, 4, 2);
  else if (D == 12) tiles(in, row, (four *)by, over, (four *)out, to, 3, 3);
  else tiles(in, row, (four *)by, over, (four *)out, to, 2, 3);
}

/* out(y, x, :) = sum over ky, kx, c of in(y + ky, x + kx, c) weight(ky, kx, c, :) */
static void convolve(Layer *l, int n) {
  int K = l->kernel, C = l->channels_in, D = l->channels, S = l->size;
  memset(l->out, 0, 4 * n * S * S * D);
  for (int i = 0; i < n; i++)
    sums(input(l, i), l->size_in, C, l->padding, l->weight->value, (Walk){K, K * C, 1},
         l->out + i * S * S * D, (Walk){S, S, C}, D);
}

/* dweight(ky, kx, c, :) = sum over images, y, x of in(y + ky, x + kx, c) dout(y, x, :): as above,
 * with the positions and the weights in each other's place;
 * din is a convolution, too: of dout with K - 1 - padding zeros around it and the weights turned by
 * half a circle, from the channels that come out to those that go in. */
static void convolve_backward(Layer *l, int n, int relu) {
  static float turned[9 * MOST_CHANNELS * MOST_CHANNELS], din[MOST_NUMBERS];
  int K = l->kernel, C = l->channels_in, D = l->channels, S = l->size, S_in = l->size_in;
  int numbers = S_in * S_in * C;
  for (int i = 0; i < K * K * C * D; i++)  // i counts taps, then c, then d
    turned[((K * K - 1 - i / D / C) * D + i % D) * C + i / D % C] = l->weight->value[i];
  for (int i = 0; i < n; i++) {
    float *in = input(l, i), *dout = l->out + i * S * S * D;
    sums(in, S_in, C, l->padding, dout, (Walk){S, S, C}, l->weight->gradient,
         (Walk){K, K * C, 1}, D);
    if (l == net.layers) continue;  // nobody asks for the derivative by the images
    memset(din, 0, 4 * numbers);
    sums(dout, S, D, K - 1 - l->padding, turned, (Walk){K, K * D, 1}, din,
         (Walk){S_in, S_in, D}, C);
    for (int k = 0; k < numbers; k++) put(&in[k], din[k], relu);
  }
}

/* Of K x K positions the maximum: out = max(in), din = dout at the first that has it, else 0;
 * or the average: out = sum(in) / K^2, din = dout / K^2. */
static void pool(Layer *l, int n, int backward, int relu) {
  int C = l->channels, K = l->kernel, S = l->size, row = l->size_in * C, max = l->kind == MAXPOOL;
#define WINDOW \
  for (int y = corner; y < corner + K * row; y += row) for (int k = y; k < y + K * C; k += C)
  float *out = l->out, *in = l->in;
  for (int line = 0; line < n * S; line++, in += K * row)
    for (int at = 0; at < S * C; at++, out++) {
      int corner = at / C * K * C + at % C, first = corner;
      float dout = *out / (max ? 1 : K * K), sum = 0;
      WINDOW {
        sum += in[k];
        if (!(in[k] <= in[first])) first = k;  // or it is no number
      }
      if (!backward) *out = max ? in[first] : sum / (K * K);
      else WINDOW put(&in[k], max && first != k ? 0 : dout, relu);
    }
}

// ------------------------------------------------------------------------------ the network
void *EXPORT(begin)(int count, int size, int of_classes, int batch, int norm_, int groups_,
                    float mean, float std) {
  image_size = size, classes = of_classes, most_images = batch, norm = norm_, groups = groups_;
  mean_pixel = mean, std_pixel = std;
  net.images = take(count, size * size), net.labels = take(count, 1), net.said = take(count, 1);
  net.sure = floats(count), net.order = take(count, sizeof(int));
  mean_g = floats(batch * MOST_CHANNELS), mean_gy = floats(batch * MOST_CHANNELS);
  net.parameters = take(64, sizeof(Parameter)), net.layers = take(64, sizeof(Layer));
  return &net;
}

static Parameter *parameter(int size, int penalized, float value) {
  Parameter *made = &net.parameters[net.parameter_count++];
  *made = (Parameter){floats(size), floats(size), floats(size), size, penalized};
  for (int i = 0; i < size; i++) made->value[i] = value;
  return made;
}

/* A layer upon those that are there. kernel 0, of the average: all positions that are left. */
void EXPORT(add)(Kind kind, int channels, int kernel, int padding) {
  Layer *l = &net.layers[net.layer_count++], *under = l > net.layers ? l - 1 : 0;
  *l = (Layer){kind, 1, (channels + 3) & ~3, image_size, .padding = padding, .used = channels};
  if (under) l->channels_in = under->channels, l->size_in = under->size, l->in = under->out;
  l->kernel = kernel ? kernel : l->size_in, l->size = l->size_in;
  if (kind == CONV) l->size += 2 * padding - kernel + 1;
  if (kind == MAXPOOL || kind == AVGPOOL) l->size /= l->kernel;
  int C = l->channels, outputs = l->size * l->size * C;
  if (kind == CONV) l->weight = parameter(kernel * kernel * l->channels_in * C, 1, 0);
  if (kind == NORM && !shared) shared = floats(most_images * outputs);  // the first is the largest
  l->out = kind == RELU ? l->in : kind == NORM ? shared : floats(most_images * outputs);
  if (kind != NORM) return;
  (under->kind == CONV ? under : under - 1)->weight->free = 1;
  l->gain = parameter(NORMS[norm].by_element ? outputs : C, 0, 1), l->bias = parameter(C, 0, 0);
  l->mean = floats(most_images * C), l->scale = floats(most_images * C);
  l->running_mean = floats(C), l->running_variance = floats(C);
  for (int c = 0; c < C; c++) l->running_variance[c] = 1;
}

/* Draw the weights: He's, normal with variance 2 / fan_in; or PyTorch's, uniform within
 * 1 / sqrt(fan_in), fan_in being the numbers that one output is a sum of. */
void EXPORT(initialize)(int he) {
  for (Layer *l = net.layers; l < net.layers + net.layer_count; l++)
    for (int i = 0; l->kind == CONV && i < l->weight->size; i++) {
      double fan_in = l->kernel * l->kernel * l->channels_in;
      double drawn = he ? normal() * sqrt(2 / fan_in) : (2 * uniform() - 1) / sqrt(fan_in);
      if (i % l->channels < l->used) l->weight->value[i] = drawn;
    }
}

static float size_of(const float *x, int count) {  // root mean square
  double sum = 0;
  for (int i = 0; i < count; i++) sum += (double)x[i] * x[i];
  return sqrt(sum / count);
}

#define OUTPUTS(l) (n * (l)->size * (l)->size * (l)->channels)

static void forward(int n, Mode mode) {
  for (Layer *l = net.layers; l < net.layers + net.layer_count; l++) {
    if (l->kind == CONV) convolve(l, n);
    else if (l->kind == RELU) rectify(l->out, OUTPUTS(l));
    else if (l->kind == NORM) normalize(l, n, mode);
    else pool(l, n, 0, 0);
    if (net.watched) l->size_out = size_of(l->out, OUTPUTS(l));
  }
}

static void backward(int n) {
  for (Layer *l = net.layers + net.layer_count - 1; l >= net.layers; l--) {
    int relu = l > net.layers && l[-1].kind == RELU;
    if (net.watched) l->size_gradient = size_of(l->out, OUTPUTS(l));
    if (l->kind == NORM) normalize_backward(l, n, relu);
    if (l->kind == NORM || l->kind == RELU) continue;
    int again = l->in && l->in == shared;  // a gradient stands there
    if (again) normalize(relu ? l - 2 : l - 1, n, AGAIN);
    if (again && relu) rectify(l->in, OUTPUTS(l - 1));
    if (l->kind == CONV) convolve_backward(l, n, relu);
    else pool(l, n, 1, relu);
  }
}

/* Of a batch whose scores are what the last layer puts out:
 * log p(k) = score(k) - log sum over j of exp(score(j)), loss = - sum of log p(label) / N;
 * with gradients, dscore(k) = (p(k) - [k is the label]) / N. Returns the sum, sets net.hits. */
static double losses(int n, int gradients) {
  Layer *last = &net.layers[net.layer_count - 1];
  double loss = 0;
  net.hits = 0;
  for (int i = 0; i < n; i++) {
    float *scores = last->out + i * last->channels, most = scores[0];
    int image = net.order[first_image + i], label = net.labels[image], best = 0;
    for (int k = 1; k < classes; k++) if (scores[k] > most) most = scores[best = k];
    double sum = 0;
    for (int k = 0; k < classes; k++) sum += exp(scores[k] - most);
    loss += log(sum) + most - scores[label];
    net.hits += best == label, net.said[image] = best, net.sure[image] = 1 / sum;
    for (int k = 0; gradients && k < classes; k++)
      scores[k] = (exp(scores[k] - most) / sum - (k == label)) / n;
  }
  return loss;
}

/* Sum of the losses of images first, first + 1 ... of net.order. */
double EXPORT(test)(int first, int n, Mode mode) {
  first_image = first;
  forward(n, mode);
  return losses(n, 0);
}

// ------------------------------------------------------------------------ what a step changes
/* penalty = l1 sum |w| + l2 / 2 sum w^2, gradient g += l1 sign(w) + l2 w; velocity
 * v = momentum v + g; w -= rate (g + momentum v), Nesterov's. A proximal step of L1 leaves g alone:
 * afterwards w goes towards zero by rate l1 / (1 - momentum), and to zero, never past it. Weights
 * before a norm have no penalty and the rate free_rate, if there is one. */
static void take_step(float rate, float momentum, float l1, float l2, int proximal,
                      float free_rate) {
  double penalty = 0;
  for (Parameter *p = net.parameters; p < net.parameters + net.parameter_count; p++) {
    int apart = p->free && free_rate, penalized = p->penalized && !apart;
    for (int i = 0; i < p->size; i++) {
      float *w = p->value + i, *g = p->gradient + i, *v = p->velocity + i;
      if (penalized) {
        penalty += l1 * fabsf(*w) + l2 / 2 * *w * *w;
        *g += (proximal ? 0 : l1 * ((*w > 0) - (*w < 0))) + l2 * *w;
      }
      *v = momentum * *v + *g;
      *w -= (apart ? free_rate : rate) * (*g + momentum * *v);
      float left = fabsf(*w) - rate * l1 / (1 - momentum);
      if (penalized && proximal) *w = left <= 0 ? 0 : copysignf(left, *w);
    }
  }
  net.penalty = penalty;
}

/* Train on images first, first + 1 ... of net.order. Returns their mean loss before the step. */
double EXPORT(train)(int first, int n, float rate, float momentum, float l1, float l2, int proximal,
                     float free_rate) {
  for (Parameter *p = net.parameters; p < net.parameters + net.parameter_count; p++)
    memset(p->gradient, 0, sizeof(float) * p->size);
  first_image = first;
  forward(n, TRAIN);
  double loss = losses(n, 1) / n;
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

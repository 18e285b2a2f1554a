/* What a network of trainer.c is made of, which worker.js reads by the order of these words; its
 * memory; random numbers.
 */
#pragma once
#include <math.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

static void *take(int count, int bytes) {  // memory of zeros; nothing is given back
  extern char __heap_base;
  static unsigned long taken = (unsigned long)&__heap_base;
  char *place = (char *)((taken + 15) & -16ul);
  taken = (unsigned long)place + count * bytes;
  long missing = (long)(taken >> 16) + 1 - (long)__builtin_wasm_memory_size(0);
  if (missing > 0 && __builtin_wasm_memory_grow(0, missing) == -1ul) __builtin_trap();
  return place;
}
static float *floats(int count) { return take(count, sizeof(float)); }

// Random numbers: Knuth's linear congruential generator, its upper half; uniform from 0 to 1.
typedef unsigned long long word;
static word state;
void EXPORT(seed)(unsigned number) { state = number * 0x9E3779B97F4A7C15; }
static word bits(void) { return (state = state * 6364136223846793005 + 1442695040888963407) >> 32; }
unsigned EXPORT(below)(unsigned count) { return bits() * count >> 32; }
static double uniform(void) { return (bits() + 0.5) / 4294967296.0; }
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
  float *mean, *scale, *running_mean, *running_variance;  // of a norm: (N, C) and (C)
  float size_out, size_gradient;  // root mean square of out and of its gradient, if watched
} Layer;

static struct {  // what the page reads and writes
  unsigned char *images, *labels, *said;  // (M, S, S); of each image its class, and what we say
  float *sure;  // the probability of what we say
  int *order;  // numbers of images, in the order in which steps and tests take them
  Parameter *parameters;
  Layer *layers;
  int parameter_count, layer_count, hits, watched;
  float penalty;
} net;

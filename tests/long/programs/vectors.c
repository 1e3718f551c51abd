/* Loops that gcc makes AVX2, FMA and BMI code of, and glibc's AVX2 string functions, while signals and another process
 * make the kernel save and restore the registers. Prints a hash of all results. Compiled by vectors.test.ts. */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>

enum { COUNT = 4096, BYTES = 65536, ROUNDS = 200 };
static float a[COUNT], b[COUNT], c[COUNT];
static double d[COUNT], e[COUNT];
static int32_t x[COUNT], y[COUNT];
static int16_t w[COUNT];
static uint8_t s[BYTES], t[BYTES];
static uint64_t hash = 1469598103934665603ull;
static volatile int ticks;
static volatile float kept;

static void mix(const void *data, size_t bytes) {
  const uint8_t *p = data;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 1099511628211ull;
}

/* Uses the vector registers, so that what the frame saved has to come back. */
static void tick(int number) {
  float q[64], sum = 0;
  (void)number;
  ticks++;
  for (int i = 0; i < 64; i++) q[i] = (float)i * 1.5f + (float)ticks;
  for (int i = 0; i < 64; i++) sum += q[i];
  kept = sum;
}

static void neighbour(void) {
  for (int round = 0; round < 300; round++) {
    for (int i = 0; i < COUNT; i++) a[i] = a[i] * 1.01f + (float)i;
    sched_yield();
  }
  _exit(0);
}

int main(void) {
  struct sigaction action = { .sa_handler = tick };
  struct itimerval often = { { 0, 5000 }, { 0, 5000 } };
  uint32_t r = 12345;
  sigaction(SIGALRM, &action, 0);
  setitimer(ITIMER_REAL, &often, 0);
  if (fork() == 0) neighbour();
  for (int i = 0; i < COUNT; i++) {
    r = r * 1664525 + 1013904223;
    a[i] = (float)(int)(r >> 8) / 65536.0f;
    b[i] = (float)(r & 0xffff) / 3.0f;
    d[i] = a[i] / 7;
    e[i] = b[i];
    x[i] = (int32_t)r;
    y[i] = (int32_t)(r >> 5);
    w[i] = (int16_t)r;
    s[i * 16] = (uint8_t)r;
  }
  for (int k = 0; k < ROUNDS; k++) {
    for (int i = 0; i < COUNT; i++) c[i] = a[i] * b[i] + c[i];
    for (int i = 0; i < COUNT; i++) d[i] = d[i] * e[i] * 1e-4 + sqrt(fabs(d[i]));
    for (int i = 0; i < COUNT; i++) x[i] = (x[i] >> (y[i] & 7)) + (int32_t)((uint32_t)y[i] * 3);
    for (int i = 0; i < COUNT; i++) y[i] = x[(uint32_t)y[i] & (COUNT - 1)] > y[i] ? x[i] : y[i] ^ k;
    for (int i = 0; i < COUNT; i++) w[i] = (int16_t)(w[i] * 31 + x[i]);
    for (int i = 0; i < COUNT; i++) e[i] = x[i] * 1e-3 + (double)(float)w[i];
    memmove(s + k, s, 60000);
    memset(t + k, k, 1000 + (size_t)k);
    memcpy(t + 7, s + k, 50000);
    for (int i = 0; i < BYTES; i++) t[i] = (uint8_t)(t[i] > s[i] ? t[i] - s[i] : (t[i] + s[i] + 1) / 2);
    uint8_t *found = memchr(t, k, sizeof t);
    size_t place = found ? (size_t)(found - t) : 0;
    mix(&place, sizeof place);
    t[60000] = 0;
    size_t length = strlen((char *)t + 100);
    mix(&length, sizeof length);
    int order = memcmp(s, t, 60000) > 0;
    mix(&order, sizeof order);
    sched_yield();
  }
  mix(c, sizeof c);
  mix(d, sizeof d);
  mix(e, sizeof e);
  mix(x, sizeof x);
  mix(y, sizeof y);
  mix(w, sizeof w);
  mix(t, sizeof t);
  printf("%016llx\n", (unsigned long long)hash);
  return 0;
}

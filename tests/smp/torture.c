// What several processors promise each other, hammered: torture SECONDS THREADS [TEST]. One line for each test, "ok
// NAME ROUNDS" or "FAIL NAME WHY"; the exit status is the number of failures. Runs on any x86-64 Linux, so that a real
// machine tells whether the test or Mimic is wrong. SDM vol 3A §8.1 (locked operations), §8.2 (ordering), §8.1.3
// (cross-modifying code), §4.10.5 (TLB shoot-down).
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { THREADS_MAX = 16, PAGE = 4096, LITMUS = 512 };

static int threads;
static double seconds;
static volatile int stop;
static u64 rounds[THREADS_MAX];
static char failure[200];

static void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  if (!failure[0]) vsnprintf(failure, sizeof failure, format, list);
  va_end(list);
  stop = 1;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void serialize(void) {
  u32 a = 0, b, c = 0, d;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory");
}

static inline void relax(void) { asm volatile("pause" ::: "memory"); }

// --- a barrier that spins, so that threads leave it at nearly the same time ---

static volatile u32 arrived, sense;
static int members;

static void barrier(void) {
  u32 old = sense;
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST) == (u32)members) {
    arrived = 0;
    __atomic_store_n(&sense, old + 1, __ATOMIC_SEQ_CST);
  } else
    while (__atomic_load_n(&sense, __ATOMIC_SEQ_CST) == old && !stop) relax();
}

// --- read-modify-write instructions: no update is ever lost ---

static u8 arena[4 * PAGE] __attribute__((aligned(PAGE)));
/** Where each width is tried: aligned, misaligned in 8 bytes, across 8 bytes, a cache line, a page. */
static const u32 PLACES[] = {256, 257, 258, 259, 261, 263, 319, 318, 317, 316, 313,
                             PAGE - 1, PAGE - 2, PAGE - 3, PAGE - 5, 2 * PAGE - 7};
enum { PLACE_COUNT = sizeof PLACES / sizeof *PLACES };

#define WIDTH_OPS(T, S, R)                                                                     \
  static void inc##T(u8 *p) { asm volatile("lock inc" S " %0" : "+m"(*(T *)p)::"memory", "cc"); } \
  static void xadd##T(u8 *p) {                                                                 \
    T one = 1;                                                                                 \
    asm volatile("lock xadd" S " %1, %0" : "+m"(*(T *)p), "+" R(one)::"memory", "cc");         \
  }                                                                                            \
  static void cmpxchg##T(u8 *p) {                                                              \
    T old, new;                                                                                \
    u8 done;                                                                                   \
    memcpy(&old, p, sizeof old);                                                               \
    do {                                                                                       \
      new = old + 1;                                                                           \
      asm volatile("lock cmpxchg" S " %3, %0; sete %2"                                         \
                   : "+m"(*(T *)p), "+a"(old), "=&r"(done)                                     \
                   : R(new)                                                                    \
                   : "memory", "cc");                                                          \
    } while (!done);                                                                           \
  }                                                                                            \
  static void sub##T(u8 *p) { asm volatile("lock sub" S " $-1, %0" : "+m"(*(T *)p)::"memory", "cc"); }

WIDTH_OPS(u8, "b", "q")
WIDTH_OPS(u16, "w", "r")
WIDTH_OPS(u32, "l", "r")
WIDTH_OPS(u64, "q", "r")

static void (*const OPS[])(u8 *) = {incu8, xaddu8, cmpxchgu8, subu8, incu16, xaddu16, cmpxchgu16, subu16,
                                    incu32, xaddu32, cmpxchgu32, subu32, incu64, xaddu64, cmpxchgu64, subu64};
enum { OP_COUNT = sizeof OPS / sizeof *OPS };

static int thePlace;
/** Each place has one width, by its number, so that its sum can be checked. */
static void counters(int id) {
  u8 *p = arena + PLACES[thePlace];
  void (*const *ops)(u8 *) = OPS + thePlace % 4 * 4;
  while (!stop) {
    for (int n = 0; n < 4; n++) ops[n](p);
    rounds[id]++;
  }
}
static u64 valueAt(int place) {
  u64 value = 0;
  memcpy(&value, arena + PLACES[place], 1 << (place % 4));
  return value;
}

// Bytes and whole of one quadword at once: mixed sizes.
static volatile u64 mixed __attribute__((aligned(64)));
static void mixedSizes(int id) {
  while (!stop) {
    if (id % 2) asm volatile("lock addl $1, %0" : "+m"(*(volatile u32 *)&mixed)::"memory", "cc");
    else asm volatile("lock addq %1, %0" : "+m"(mixed) : "r"(1ull << 32) : "memory", "cc");
    rounds[id]++;
  }
}

// --- mutual exclusion by each kind of lock ---

static volatile u64 guarded, word __attribute__((aligned(64)));
static volatile u32 tickets, serving;

static void section(int id) {
  u64 value = guarded;
  if (id & 1) relax();
  guarded = value + 1;
  rounds[id]++;
}
static void btsLock(int id) {
  while (!stop) {
    u8 taken;
    do {
      asm volatile("lock btsq $37, %0; setc %1" : "+m"(word), "=r"(taken)::"memory", "cc");
      if (taken) relax();
    } while (taken && !stop);
    if (taken) return;
    section(id);
    asm volatile("lock btrq %1, %0" : "+m"(word) : "r"(37ull) : "memory", "cc");
  }
}
static void xchgLock(int id) {
  while (!stop) {
    u32 taken = 1;
    do {
      asm volatile("xchgl %1, %0" : "+m"(*(volatile u32 *)&word), "+r"(taken)::"memory");
      if (taken) relax();
    } while (taken && !stop);
    if (taken) return;
    section(id);
    asm volatile("movl $0, %0" : "=m"(*(volatile u32 *)&word)::"memory");
  }
}
static void ticketLock(int id) {
  while (!stop) {
    u32 mine = 1;
    asm volatile("lock xaddl %1, %0" : "+m"(tickets), "+r"(mine)::"memory", "cc");
    while (serving != mine) {
      if (stop) return;
      relax();
    }
    section(id);
    asm volatile("incl %0" : "+m"(serving)::"memory", "cc");
  }
}
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void mutexLock(int id) {
  while (!stop) {
    pthread_mutex_lock(&mutex);
    section(id);
    pthread_mutex_unlock(&mutex);
  }
}

// --- CMPXCHG8B and CMPXCHG16B: the halves never part ---

static volatile u64 pair8 __attribute__((aligned(64)));
static void wide8(int id) {
  while (!stop) {
    u32 low = (u32)pair8, high = (u32)(pair8 >> 32);
    u8 done;
    do
      asm volatile("lock cmpxchg8b %0; sete %3"
                   : "+m"(pair8), "+a"(low), "+d"(high), "=q"(done)
                   : "b"(low + 1), "c"(high + 3)
                   : "memory", "cc");
    while (!done && !stop);
    if (done) rounds[id]++;
  }
}
static volatile struct { u64 low, high; } pair16 __attribute__((aligned(64)));
static int exchange16(u64 *low, u64 *high, u64 newLow, u64 newHigh) {
  u8 done;
  asm volatile("lock cmpxchg16b %0; sete %3"
               : "+m"(pair16), "+a"(*low), "+d"(*high), "=q"(done)
               : "b"(newLow), "c"(newHigh)
               : "memory", "cc");
  return done;
}
static void wide16(int id) {
  while (!stop) {
    u64 low = pair16.low, high = pair16.high;
    while (!exchange16(&low, &high, low + 1, high + 3) && !stop)
      // What a failed exchange gives is what was there at one moment.
      if (high != 3 * low) fail("halves %lu and %lu parted", (long)low, (long)high);
    if (!stop) rounds[id]++;
    else return;
  }
}
// Others add to one half while the pair is exchanged.
static void wide16Mixed(int id) {
  while (!stop) {
    if (id % 2) asm volatile("lock incq %0" : "+m"(pair16.low)::"memory", "cc");
    else {
      u64 low = pair16.low, high = pair16.high;
      while (!exchange16(&low, &high, low, high + 1));
    }
    rounds[id]++;
  }
}

// --- ordering: what total store order forbids is never seen ---

static volatile u32 X[LITMUS * 16], Y[LITMUS * 16];
static u32 R[4][LITMUS];
#define CELL(A, I) A[(I) * 16]

/** Two threads run one step each for all cells; then one of them judges. */
static void litmus(int id, void (*step)(int id, int i), int (*isWrong)(int i), const char *what) {
  while (!stop) {
    barrier();
    // Delays that differ, so that the threads pass each other.
    for (volatile int wait = (int)((rounds[id] * (id + 3)) % 61); wait > 0; wait--);
    for (int i = 0; i < LITMUS; i++) step(id, i);
    barrier();
    if (id == 0) {
      for (int i = 0; i < LITMUS; i++) {
        if (!stop && isWrong(i)) fail("%s at %d", what, i);
        CELL(X, i) = CELL(Y, i) = 0;
      }
    }
    rounds[id]++;
  }
}
static void mpStep(int id, int i) {
  if (id == 0) {
    CELL(X, i) = 1;
    CELL(Y, i) = 1;
  } else {
    R[0][i] = CELL(Y, i);
    R[1][i] = CELL(X, i);
  }
}
static int mpWrong(int i) { return R[0][i] && !R[1][i]; }
static void messagePassing(int id) { litmus(id, mpStep, mpWrong, "flag seen before data"); }

#define STORE_BUFFER(NAME, FENCE)                                                \
  static void NAME##Step(int id, int i) {                                        \
    volatile u32 *mine = id ? &CELL(Y, i) : &CELL(X, i);                         \
    volatile u32 *other = id ? &CELL(X, i) : &CELL(Y, i);                        \
    FENCE;                                                                       \
    R[id][i] = *other;                                                           \
  }                                                                              \
  static int NAME##Wrong(int i) { return !R[0][i] && !R[1][i]; }                 \
  static void NAME(int id) { litmus(id, NAME##Step, NAME##Wrong, "both stores passed"); }
STORE_BUFFER(storeBufferMfence, *mine = 1; asm volatile("mfence" ::: "memory"))
STORE_BUFFER(storeBufferLocked, *mine = 1; asm volatile("lock orl $0, -8(%%rsp)" ::: "memory", "cc"))
STORE_BUFFER(storeBufferXchg, u32 one = 1; asm volatile("xchgl %1, %0" : "+m"(*mine), "+r"(one)::"memory"))

static void lbStep(int id, int i) {
  volatile u32 *mine = id ? &CELL(Y, i) : &CELL(X, i);
  volatile u32 *other = id ? &CELL(X, i) : &CELL(Y, i);
  R[id][i] = *other;
  *mine = 1;
}
static int lbWrong(int i) { return R[0][i] && R[1][i]; }
static void loadBuffer(int id) { litmus(id, lbStep, lbWrong, "loads saw later stores"); }

// --- pages that are remapped under others' feet ---

static u8 *window;
static int memory;
static volatile u64 generation;
static __thread sigjmp_buf faulted;
static __thread volatile int expectsFault;

static void onFault(int number, siginfo_t *information, void *context) {
  if (expectsFault) siglongjmp(faulted, 1);
  long long at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  printf("signal %d at %llx, address %p\n", number, at, information->si_addr);
  fflush(stdout);
  _exit(100 + number);
}

/** Thread 0 maps one page after the other at one address; the page's number is in it. */
static void remap(int id) {
  enum { PAGES = 8 };
  if (id == 0) {
    for (u64 n = 0; !stop; n++) {
      if (mmap(window, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, n % PAGES * PAGE) == MAP_FAILED)
        fail("mmap");
      __atomic_store_n(&generation, n + 1, __ATOMIC_SEQ_CST);
      rounds[0]++;
      for (volatile int wait = n % 500; wait > 0; wait--);
      __atomic_store_n(&generation, 0, __ATOMIC_SEQ_CST);
    }
    return;
  }
  while (!stop) {
    u64 before = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
    u64 value = *(volatile u64 *)window;
    u64 after = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
    if (!before || before != after) continue;
    if (value != (before - 1) % PAGES) fail("page %lu where %lu is mapped", (long)value, (long)((before - 1) % PAGES));
    rounds[id]++;
  }
}

/** Thread 0 takes the right to write away; from then on nothing is written. */
static void protect(int id) {
  if (id == 0) {
    while (!stop) {
      if (mprotect(window, PAGE, PROT_READ)) fail("mprotect");
      volatile u64 *cells = (volatile u64 *)window;
      u64 sum = 0, again = 0;
      for (int n = 0; n < 64; n++) sum += cells[n];
      for (volatile int wait = 200; wait > 0; wait--);
      for (int n = 0; n < 64; n++) again += cells[n];
      if (sum != again) fail("written while read-only");
      if (mprotect(window, PAGE, PROT_READ | PROT_WRITE)) fail("mprotect");
      rounds[0]++;
      for (volatile int wait = 300; wait > 0; wait--);
    }
    return;
  }
  expectsFault = 1;
  while (!stop) {
    if (sigsetjmp(faulted, 1) == 0)
      for (int n = 0; n < 64 && !stop; n++) ((volatile u64 *)window)[id] += 1;
    rounds[id]++;
  }
  expectsFault = 0;
}

// --- code that one processor writes and others run ---

/** mov eax, imm32; ret, its immediate on four aligned bytes: at 3 behind three NOPs. */
static void emit(u8 *at, u32 value) {
  u8 code[] = {0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3};
  memcpy(code + 4, &value, 4);
  memcpy(at, code, sizeof code);
}
static u8 *code, *alias;
static volatile u32 version;

/** As the manual wants it: a flag around the change, and a serialising instruction before the new code is run. */
static void crossModify(int id) {
  if (id == 0) {
    for (u32 n = 1; !stop; n++) {
      __atomic_store_n(&version, 0, __ATOMIC_SEQ_CST);
      // By turns through the mapping that runs and through another one of the same page.
      emit(n % 2 ? code : alias, n);
      __atomic_store_n(&version, n, __ATOMIC_SEQ_CST);
      rounds[0]++;
      for (volatile int wait = n % 300; wait > 0; wait--);
    }
    return;
  }
  while (!stop) {
    u32 before = __atomic_load_n(&version, __ATOMIC_SEQ_CST);
    if (!before) continue;
    serialize();
    u32 got = ((u32(*)(void))code)();
    u32 after = __atomic_load_n(&version, __ATOMIC_SEQ_CST);
    if (before == after && got != before) fail("ran code %u for %u", got, before);
    rounds[id]++;
  }
}

/** Aligned four bytes of an instruction change while it runs: it is the old one or the new one, and never goes back. */
static void patchRunning(int id) {
  if (id == 0) {
    for (u32 n = 1; !stop; n++) {
      __atomic_store_n((u32 *)(code + 4), n, __ATOMIC_SEQ_CST);
      __atomic_store_n(&version, n, __ATOMIC_SEQ_CST);
      rounds[0]++;
      for (volatile int wait = n % 100; wait > 0; wait--);
    }
    return;
  }
  u32 last = 0;
  while (!stop) {
    u32 known = __atomic_load_n(&version, __ATOMIC_SEQ_CST);
    serialize();
    u32 got = ((u32(*)(void))code)();
    if (got < last) fail("went back from %u to %u", last, got);
    if (got < known) fail("still %u after %u", got, known);
    last = got;
    rounds[id]++;
  }
}

/** A translator's way: a function is written to a place that held another, and its address is passed on. */
static volatile u64 published;
static void freshCode(int id) {
  enum { SLOT = 32, SLOTS = PAGE / SLOT };
  if (id == 0) {
    for (u64 n = 1; !stop; n++) {
      u8 *at = code + PAGE + n % SLOTS * SLOT;
      emit(at, (u32)n);
      __atomic_store_n(&published, n, __ATOMIC_SEQ_CST);
      rounds[0]++;
      // Far enough behind for the callers not to be in a slot that is written again.
      for (volatile int wait = 400; wait > 0; wait--);
    }
    return;
  }
  while (!stop) {
    u64 n = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
    if (n == 0) continue;
    serialize();
    u32 got = ((u32(*)(void))(code + PAGE + n % SLOTS * SLOT))();
    u64 after = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
    if (after - n < SLOTS / 2 && got != (u32)n) fail("slot of %lu gave %u", (long)n, got);
    rounds[id]++;
  }
}

// --- running them ---

static void (*body)(int);
static void *threadMain(void *argument) {
  int id = (int)(intptr_t)argument;
  barrier();
  body(id);
  return NULL;
}

static u64 run(void (*test)(int), int count, double forSeconds) {
  pthread_t handles[THREADS_MAX];
  memset(rounds, 0, sizeof rounds);
  failure[0] = 0;
  stop = 0;
  arrived = 0;
  members = count;
  body = test;
  for (int id = 0; id < count; id++)
    if (pthread_create(&handles[id], NULL, threadMain, (void *)(intptr_t)id)) fail("no thread");
  double end = now() + forSeconds;
  while (now() < end && !stop) usleep(10000);
  stop = 1;
  u64 sum = 0;
  for (int id = 0; id < count; id++) {
    pthread_join(handles[id], NULL);
    sum += rounds[id];
  }
  return sum;
}

static int failures;
static void tell(const char *name, u64 sum) {
  if (failure[0]) failures++;
  if (failure[0]) printf("FAIL %s %s\n", name, failure);
  else printf("ok %s %lu\n", name, (long)sum);
  fflush(stdout);
}

static int isWanted(const char *name, const char *only) { return !only || strstr(name, only); }

static void runCounters(void) {
  u64 total = 0;
  for (int place = 0; place < PLACE_COUNT && !failures; place++) {
    memset(arena, 0, sizeof arena);
    thePlace = place;
    u64 sum = run(counters, threads, seconds / PLACE_COUNT);
    int bits = 8 << (place % 4);
    u64 mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    if (valueAt(place) != (4 * sum & mask))
      fail("%d bits at %u: %lu, not %lu", bits, PLACES[place], (long)valueAt(place), (long)(4 * sum & mask));
    total += sum;
    if (failure[0]) break;
  }
  tell("counters", total);
}

struct test {
  const char *name;
  void (*body)(int);
  /** 0: as many as asked for. */
  int count;
};
static const struct test TESTS[] = {
    {"mixed-sizes", mixedSizes, 0}, {"bts-lock", btsLock, 0}, {"xchg-lock", xchgLock, 0},
    {"ticket-lock", ticketLock, 0}, {"mutex", mutexLock, 0}, {"cmpxchg8b", wide8, 0},
    {"cmpxchg16b", wide16, 0}, {"cmpxchg16b-mixed", wide16Mixed, 0}, {"message-passing", messagePassing, 2},
    {"store-buffer-mfence", storeBufferMfence, 2}, {"store-buffer-locked", storeBufferLocked, 2},
    {"store-buffer-xchg", storeBufferXchg, 2}, {"load-buffer", loadBuffer, 2}, {"remap", remap, 0},
    {"protect", protect, 0}, {"cross-modify", crossModify, 0}, {"patch-running", patchRunning, 0},
    {"fresh-code", freshCode, 0},
};

static void judge(const struct test *t, u64 sum) {
  if (failure[0]) return;
  int isGuarded = t->body == btsLock || t->body == xchgLock || t->body == ticketLock || t->body == mutexLock;
  if (isGuarded && guarded != sum) fail("%lu entered, %lu counted", (long)sum, (long)guarded);
  if (t->body == wide8 && ((u32)pair8 != (u32)sum || (u32)(pair8 >> 32) != (u32)(3 * sum)))
    fail("%lx after %lu", (long)pair8, (long)sum);
  if (t->body == wide16 && (pair16.low < sum || pair16.high != 3 * pair16.low))
    fail("%lu and %lu after %lu", (long)pair16.low, (long)pair16.high, (long)sum);
  if (t->body == wide16Mixed && pair16.low + pair16.high != sum)
    fail("%lu and %lu after %lu", (long)pair16.low, (long)pair16.high, (long)sum);
  u64 odd = 0, even = 0;
  for (int id = 0; id < threads; id++) *(id % 2 ? &odd : &even) += rounds[id];
  if (t->body == mixedSizes && (u32)mixed != (u32)odd) fail("low half %lx after %lx", (long)mixed, (long)odd);
  if (t->body == mixedSizes && (u32)(mixed >> 32) != (u32)even) fail("high half %lx", (long)mixed);
}

int main(int argumentCount, char **arguments) {
  seconds = argumentCount > 1 ? atof(arguments[1]) : 1;
  threads = argumentCount > 2 ? atoi(arguments[2]) : 2;
  const char *only = argumentCount > 3 ? arguments[3] : NULL;
  if (threads < 2 || threads > THREADS_MAX) return 99;
  struct sigaction action = {.sa_sigaction = onFault, .sa_flags = SA_NODEFER | SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  memory = memfd_create("torture", 0);
  if (memory < 0 || ftruncate(memory, 10 * PAGE)) return 98;
  u8 *pages = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  for (u64 n = 0; n < 8; n++) *(u64 *)(pages + n * PAGE) = n;
  window = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  alias = pages + 8 * PAGE;
  code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, memory, 8 * PAGE);
  if (pages == MAP_FAILED || window == MAP_FAILED || code == MAP_FAILED) return 97;

  if (isWanted("counters", only)) runCounters();
  for (u32 n = 0; n < sizeof TESTS / sizeof *TESTS; n++) {
    const struct test *t = &TESTS[n];
    if (!isWanted(t->name, only)) continue;
    guarded = word = mixed = pair8 = 0;
    pair16.low = pair16.high = 0;
    tickets = serving = version = 0;
    generation = published = 0;
    memset((void *)X, 0, sizeof X);
    memset((void *)Y, 0, sizeof Y);
    emit(code, 0);
    u64 sum = run(t->body, t->count ? t->count : threads, seconds);
    judge(t, sum);
    tell(t->name, sum);
  }
  printf("done %d\n", failures);
  return failures;
}

/* Runs instruction sequences natively and records the state behind each. Compiled by native.ts where the host is an
 * x86-64 Linux. Each case is entered by returning from a signal with its state in the frame, and ends in the handler of
 * the signal that its last byte (int3) or its fault raises: one signal a case.
 *   runner CASES RESULTS */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>

#define CODE 0x200000ul
#define DATA 0x400000ul
#define STACK 0x600000ul
#define PAGE 4096
#define WINDOW 128
#define TIMED_OUT 0xffu

struct memory { uint8_t first[WINDOW], middle[2 * WINDOW], last[WINDOW], stack[2 * WINDOW]; };
struct test { uint8_t code[96]; uint32_t code_offset, code_length; uint64_t gpr[16], rflags; uint8_t fx[512]; struct memory memory; };
struct result { uint32_t vector, error; uint64_t cr2, rip, gpr[16], rflags; uint8_t fx[512]; struct memory memory; };

static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
static const struct test *tests;
static struct result *results;
static size_t count, current;
static int started;

static void copy_memory(struct memory *m, int to_pages) {
  struct { uint8_t *page; uint8_t *image; size_t size; } parts[4] = {
    { (uint8_t *)DATA, m->first, WINDOW }, { (uint8_t *)DATA + PAGE - WINDOW, m->middle, 2 * WINDOW },
    { (uint8_t *)DATA + 2 * PAGE - WINDOW, m->last, WINDOW }, { (uint8_t *)STACK + PAGE / 2 - WINDOW, m->stack, 2 * WINDOW } };
  for (int i = 0; i < 4; i++)
    if (to_pages) memcpy(parts[i].page, parts[i].image, parts[i].size); else memcpy(parts[i].image, parts[i].page, parts[i].size);
}

static void handler(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *u = context;
  greg_t *g = u->uc_mcontext.gregs;
  uint8_t *fx = (uint8_t *)u->uc_mcontext.fpregs;
  if (started) {
    struct result *r = &results[current++];
    r->vector = signal_number == SIGALRM ? TIMED_OUT : (uint32_t)g[REG_TRAPNO]; r->error = (uint32_t)g[REG_ERR]; r->cr2 = (uint64_t)g[REG_CR2]; r->rip = (uint64_t)g[REG_RIP];
    for (int i = 0; i < 16; i++) r->gpr[i] = (uint64_t)g[order[i]];
    r->rflags = (uint64_t)g[REG_EFL];
    memcpy(r->fx, fx, 512);
    copy_memory(&r->memory, 0);
  }
  started = 1;
  if (current == count) _exit(0);
  struct itimerval limit = { .it_value = { .tv_usec = 50000 } }; /* A case may loop for ever. */
  setitimer(ITIMER_REAL, &limit, 0);
  const struct test *t = &tests[current];
  memset((void *)CODE, 0xcc, 2 * PAGE);
  memcpy((uint8_t *)CODE + t->code_offset, t->code, t->code_length);
  copy_memory((struct memory *)&t->memory, 1);
  for (int i = 0; i < 16; i++) g[order[i]] = (greg_t)t->gpr[i];
  g[REG_EFL] = (greg_t)(t->rflags | 0x202);
  g[REG_RIP] = (greg_t)(CODE + t->code_offset);
  memcpy(fx, t->fx, 464);
  *(uint64_t *)(fx + 512) |= 3; /* XSTATE_BV: x87 and SSE are in the frame. */
}

static void *map_at(unsigned long address, size_t size, int protection) {
  void *p = mmap((void *)address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (void *)address) { perror("mmap"); exit(2); }
  return p;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int in = open(argv[1], O_RDONLY), out = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
  struct stat s;
  if (in < 0 || out < 0 || fstat(in, &s)) { perror("open"); return 2; }
  count = (size_t)s.st_size / sizeof(struct test);
  if (count == 0 || ftruncate(out, (off_t)(count * sizeof(struct result)))) return 2;
  tests = mmap(0, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, in, 0);
  results = mmap(0, count * sizeof(struct result), PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
  if (tests == MAP_FAILED || results == MAP_FAILED) { perror("mmap"); return 2; }
  map_at(CODE, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  map_at(DATA, 2 * PAGE, PROT_READ | PROT_WRITE);
  map_at(STACK, PAGE, PROT_READ | PROT_WRITE);
  stack_t alternate = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
  sigaltstack(&alternate, 0);
  struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  sigfillset(&action.sa_mask);
  int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM };
  for (int i = 0; i < 6; i++) sigaction(signals[i], &action, 0);
  __asm__ volatile("int3");
  return 3;
}

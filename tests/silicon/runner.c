/* Runs instruction sequences natively and records the state behind each. Compiled by native.ts where the host is an
 * x86-64 Linux, with a header made from layout.ts. Each case is entered by returning from a signal with its state in
 * the frame (segment registers too, so a case may be 16- or 32-bit code), and ends in the handler of the signal that
 * its last byte (int3) or its fault raises: one signal a case. Exit code 4: no LDT here, 5: no FS/GSBASE instructions,
 * 6: not all of x86-64-v3.
 *   runner CASES RESULTS | runner --probe */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>
#include "layout.h"

#define HWCAP2_HAS_FSGSBASE 2
#define XSTATE_BV 512   /* The frame holds an XSAVE area in standard form. SDM vol 1 §13.4.2. */
#define YMM_HI128 576
#define XSTATE_AVX 4u
#define UC_RESTORES_SS 6 /* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
#define RESTORED_BY_POPF 0x244000u /* NT, AC, ID: sigreturn does not restore all of them, and AC would hurt us. */

struct test {
  uint8_t code[CODE_BYTES_MAX];
  uint32_t code_offset, code_length;
  uint64_t rip, rflags, gpr[16];
  uint16_t selectors[8];
  uint64_t fs_base, gs_base;
  uint8_t fx[512], ymm[256], memory[MEMORY_BYTES];
};
struct result {
  uint32_t vector, error;
  uint64_t cr2, rip, rflags, gpr[16];
  uint16_t selectors[8];
  uint64_t fs_base, gs_base;
  uint8_t fx[512], ymm[256], memory[MEMORY_BYTES];
};
_Static_assert(sizeof(struct test) == TEST_SIZE && sizeof(struct result) == RESULT_SIZE, "layout.ts says otherwise");

enum { ES, CS, SS, DS, FS, GS };
static const struct { unsigned long address; size_t bytes; } parts[] = MEMORY_PARTS;
static const struct { unsigned long address; int is_code; } pages[] = PAGES;
static const struct user_desc ldt[] = LDT_SEGMENTS;
static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
static const struct test *tests;
static struct result *results;
static size_t count, current;
static int started;
static uint64_t own_fs_base;

static void save_case(int signal_number, ucontext_t *u, const uint16_t *selectors, uint64_t fs_base, uint64_t gs_base) {
  greg_t *g = u->uc_mcontext.gregs;
  struct result *r = &results[current++];
  r->vector = signal_number == SIGALRM ? TIMED_OUT : (uint32_t)g[REG_TRAPNO];
  r->error = (uint32_t)g[REG_ERR];
  r->cr2 = (uint64_t)g[REG_CR2];
  r->rip = (uint64_t)g[REG_RIP];
  for (int i = 0; i < 16; i++) r->gpr[i] = (uint64_t)g[order[i]];
  r->rflags = (uint64_t)g[REG_EFL];
  memcpy(r->selectors, selectors, sizeof r->selectors);
  r->selectors[CS] = (uint16_t)g[REG_CSGSFS];
  r->selectors[SS] = (uint16_t)(g[REG_CSGSFS] >> 48);
  r->fs_base = fs_base;
  r->gs_base = gs_base;
  const uint8_t *fx = (const uint8_t *)u->uc_mcontext.fpregs;
  memcpy(r->fx, fx, sizeof r->fx);
  if (*(const uint64_t *)(fx + XSTATE_BV) & XSTATE_AVX) memcpy(r->ymm, fx + YMM_HI128, sizeof r->ymm);
  uint8_t *m = r->memory;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; m += parts[i++].bytes) memcpy(m, (void *)parts[i].address, parts[i].bytes);
}

static void load_case(const struct test *t, ucontext_t *u) {
  greg_t *g = u->uc_mcontext.gregs;
  uint8_t *fx = (uint8_t *)u->uc_mcontext.fpregs;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) memset((void *)pages[i].address, pages[i].is_code ? 0xcc : 0, PAGE_BYTES);
  memcpy((uint8_t *)CODE + t->code_offset, t->code, t->code_length);
  const uint8_t *m = t->memory;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; m += parts[i++].bytes) memcpy((void *)parts[i].address, m, parts[i].bytes);
  for (int i = 0; i < 16; i++) g[order[i]] = (greg_t)t->gpr[i];
  g[REG_EFL] = (greg_t)t->rflags;
  g[REG_RIP] = (greg_t)t->rip;
  g[REG_CSGSFS] = (greg_t)(t->selectors[CS] | (uint64_t)t->selectors[SS] << 48);
  u->uc_flags |= UC_RESTORES_SS;
  memcpy(fx, t->fx, 464);
  memcpy(fx + YMM_HI128, t->ymm, sizeof t->ymm);
  *(uint64_t *)(fx + XSTATE_BV) |= 3 | XSTATE_AVX; /* x87, SSE and AVX are in the frame. */
}

/* No thread-local storage may be used before FS is ours again and after the case's is loaded. */
static void handler(int signal_number, siginfo_t *info, void *context) {
  uint16_t selectors[8] = { 0 };
  uint64_t fs_base, gs_base;
  (void)info;
  __asm__ volatile("pushfq; andl %0, (%%rsp); popfq" : : "i"(~RESTORED_BY_POPF) : "memory", "cc");
  __asm__ volatile("mov %%es, %0" : "=r"(selectors[ES]));
  __asm__ volatile("mov %%ds, %0" : "=r"(selectors[DS]));
  __asm__ volatile("mov %%fs, %0" : "=r"(selectors[FS]));
  __asm__ volatile("mov %%gs, %0" : "=r"(selectors[GS]));
  __asm__ volatile("rdfsbase %0" : "=r"(fs_base));
  __asm__ volatile("rdgsbase %0" : "=r"(gs_base));
  if (started) {
    __asm__ volatile("mov %0, %%fs" : : "r"(0));
    __asm__ volatile("wrfsbase %0" : : "r"(own_fs_base));
    save_case(signal_number, context, selectors, fs_base, gs_base);
  } else own_fs_base = fs_base;
  started = 1;
  if (current == count) _exit(0);
  struct itimerval limit = { .it_value = { .tv_usec = 50000 } }; /* A case may loop for ever. */
  setitimer(ITIMER_REAL, &limit, 0);
  const struct test *t = &tests[current];
  load_case(t, context);
  __asm__ volatile("mov %0, %%es" : : "r"(t->selectors[ES]));
  __asm__ volatile("mov %0, %%ds" : : "r"(t->selectors[DS]));
  __asm__ volatile("mov %0, %%gs" : : "r"(t->selectors[GS]));
  if (!t->selectors[GS]) __asm__ volatile("wrgsbase %0" : : "r"(t->gs_base));
  __asm__ volatile("mov %0, %%fs" : : "r"(t->selectors[FS]));
  if (!t->selectors[FS]) __asm__ volatile("wrfsbase %0" : : "r"(t->fs_base));
}

static void make_segments(void) {
  if (!(getauxval(AT_HWCAP2) & HWCAP2_HAS_FSGSBASE)) exit(5);
  int is_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  if (!is_v3) exit(6);
  for (size_t i = 0; i < sizeof ldt / sizeof *ldt; i++)
    if (syscall(SYS_modify_ldt, 0x11, &ldt[i], sizeof ldt[i])) exit(4);
}

static void map_pages(void) {
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    int protection = PROT_READ | PROT_WRITE | (pages[i].is_code ? PROT_EXEC : 0);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)pages[i].address, PAGE_BYTES, protection, flags, -1, 0) != (void *)pages[i].address) {
      perror("mmap");
      exit(2);
    }
  }
}

int main(int argc, char **argv) {
  make_segments();
  if (argc == 2) return 0;
  if (argc != 3) return 2;
  int in = open(argv[1], O_RDONLY), out = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
  struct stat s;
  if (in < 0 || out < 0 || fstat(in, &s)) { perror("open"); return 2; }
  count = (size_t)s.st_size / sizeof(struct test);
  if (count == 0 || ftruncate(out, (off_t)(count * sizeof(struct result)))) return 2;
  tests = mmap(0, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, in, 0);
  results = mmap(0, count * sizeof(struct result), PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
  if (tests == MAP_FAILED || results == MAP_FAILED) { perror("mmap"); return 2; }
  map_pages();
  /* LSL of Linux's segment 0x7b tells the number of the processor: the first one, if we may. */
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  sched_setaffinity(0, sizeof first, &first);
  stack_t alternate = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
  sigaltstack(&alternate, 0);
  struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  sigfillset(&action.sa_mask);
  int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM };
  for (int i = 0; i < 6; i++) sigaction(signals[i], &action, 0);
  __asm__ volatile("int3");
  return 3;
}

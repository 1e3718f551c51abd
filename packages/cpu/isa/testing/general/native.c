// Runs single instructions on the host processor for record.ts: cases on standard input, results on standard output.
// Code lies at CODE, operands at DATA and STACK, as on the test processor; a signal ends a case like a fault.

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { CODE = 0x100000, LEAVE64 = 0x110000, LEAVE32 = 0x110100, BACK64 = 0x110200, STUB32 = 0x110800 };
enum { EXCHANGE = 0x120000, DATA = 0x200000, STACK = 0x300000, WINDOW = 0x400, WINDOW_BYTES = 128 };

struct input {
  uint8_t code[16];
  uint32_t length, mode;
  uint64_t registers[16], flags;
  uint8_t data[WINDOW_BYTES], stack[WINDOW_BYTES];
};
struct output {
  uint64_t registers[16], flags, rip;
  uint32_t signal, trap;
  uint8_t data[WINDOW_BYTES], stack[WINDOW_BYTES];
};
// Where native.s finds and leaves registers; its offsets are written there as addresses.
struct exchange {
  uint64_t before[16], after[16], flags_before, flags_after, host_rsp, rip;
};

extern void enter64(void), enter32(void);
extern char leave64[], leave64_end[], leave32[], leave32_end[], stub32[], stub32_end[], back64[], back64_end[], resume[];

static volatile uint32_t last_signal, last_trap;

static void on_signal(int number, siginfo_t *info, void *context) {
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
  struct exchange *x = (struct exchange *)EXCHANGE;
  (void)info;
  last_signal = number;
  last_trap = gregs[REG_TRAPNO];
  for (int i = 0; i < 16; i++) x->after[i] = gregs[order[i]];
  x->flags_after = gregs[REG_EFL];
  x->rip = gregs[REG_RIP];
  gregs[REG_RIP] = (greg_t)resume;
  gregs[REG_RSP] = x->host_rsp;
  gregs[REG_EFL] = 0x202;
  gregs[REG_CSGSFS] = (gregs[REG_CSGSFS] & ~0xffffLL) | 0x33;
}

static void place(uintptr_t address, const char *from, const char *end) { memcpy((void *)address, from, end - from); }

static void map(uintptr_t address, size_t bytes) {
  void *got = mmap((void *)address, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != (void *)address) exit(1);
}

static void run(const struct input *in, struct output *out) {
  struct exchange *x = (struct exchange *)EXCHANGE;
  uint8_t *p = (uint8_t *)CODE;
  memset(p, 0xcc, 64);
  memcpy(p, in->code, in->length);
  p += in->length;
  *p = 0xe9;
  int32_t distance = (in->mode == 64 ? LEAVE64 : LEAVE32) - (int32_t)(intptr_t)(p + 5);
  memcpy(p + 1, &distance, 4);
  memcpy(x->before, in->registers, sizeof x->before);
  x->flags_before = (in->flags & 0xcd5) | 0x202;
  memcpy((void *)(DATA + WINDOW), in->data, WINDOW_BYTES);
  memcpy((void *)(STACK + WINDOW), in->stack, WINDOW_BYTES);
  last_signal = last_trap = 0;
  x->rip = 0;
  if (in->mode == 64) enter64();
  else enter32();
  memcpy(out->registers, x->after, sizeof x->after);
  out->flags = x->flags_after;
  out->rip = x->rip;
  out->signal = last_signal;
  out->trap = last_trap;
  memcpy(out->data, (void *)(DATA + WINDOW), WINDOW_BYTES);
  memcpy(out->stack, (void *)(STACK + WINDOW), WINDOW_BYTES);
}

int main(void) {
  static const int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP};
  stack_t alternate = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  static struct input in;
  static struct output out;
  map(CODE, 0x30000);
  map(DATA, 0x2000);
  map(STACK, 0x2000);
  sigaltstack(&alternate, 0);
  for (int i = 0; i < 5; i++) sigaction(signals[i], &action, 0);
  // A jump lands on INT3.
  memset((void *)CODE, 0xcc, 0x8000);
  place(LEAVE64, leave64, leave64_end);
  place(LEAVE32, leave32, leave32_end);
  place(BACK64, back64, back64_end);
  place(STUB32, stub32, stub32_end);
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    run(&in, &out);
    fwrite(&out, sizeof out, 1, stdout);
  }
  return 0;
}

/* Runs single instructions on the host's processor: records on stdin, results on stdout, in order (oracle.ts has
   the layout). The instruction finds XMM0-2, MM1-2, RAX, RCX, RDX and a buffer at RDI; a signal is reported. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct record {
  uint8_t code[16];
  uint64_t xmm[3][2];
  uint64_t mem[4];
  uint64_t mm[2];
  uint64_t rax, rcx, rdx;
  uint32_t mxcsr, rflags;
};
struct result {
  uint64_t xmm[3][2];
  uint64_t mem[4];
  uint64_t mm[2];
  uint64_t rax, rcx, rdx;
  uint32_t mxcsr, rflags;
  uint32_t signal, x87;
  uint16_t exponent[2];
  uint32_t unused;
};

struct context {
  uint8_t fx_in[512], fx_out[512];
  uint64_t rax, rcx, rdx, rdi, rflags, code;
} __attribute__((aligned(64)));

static struct context context;
static uint8_t *page;
static volatile sig_atomic_t caught;
static uint8_t buffer[4096] __attribute__((aligned(4096)));

void run(struct context *c);
__asm__(
    ".globl run\nrun:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rdi, %rbx\n"
    "fxrstor64 (%rbx)\n"
    "mov 1024(%rbx), %rax\nmov 1032(%rbx), %rcx\nmov 1040(%rbx), %rdx\nmov 1048(%rbx), %rdi\n"
    "push 1056(%rbx)\npopfq\n"
    "call *1064(%rbx)\n"
    "pushfq\npop 1056(%rbx)\n"
    "mov %rax, 1024(%rbx)\nmov %rcx, 1032(%rbx)\nmov %rdx, 1040(%rbx)\n"
    "fxsave64 512(%rbx)\n"
    "fninit\n"
    "cld\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
    "ret\n");

static void on_signal(int number, siginfo_t *info, void *raw) {
  ucontext_t *uc = raw;
  (void)info;
  caught = number;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(page + 16); /* the return behind the instruction */
}

int main(void) {
  static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS, SIGTRAP};
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct record in;
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    struct result out;
    memset(&out, 0, sizeof out);
    memset(&context, 0, sizeof context);
    uint8_t *fx = context.fx_in;
    uint16_t fcw = 0x37f, fsw = 3 << 11;
    memcpy(fx, &fcw, 2);
    memcpy(fx + 2, &fsw, 2);
    fx[4] = 0x05;
    memcpy(fx + 24, &in.mxcsr, 4);
    for (int n = 1; n <= 2; n++) memcpy(fx + 32 + ((n - 3) & 7) * 16, &in.mm[n - 1], 8);
    memcpy(fx + 160, in.xmm, 48);
    memcpy(buffer, in.mem, 32);
    memcpy(page, in.code, 16);
    page[16] = 0xc3;
    context.rax = in.rax, context.rcx = in.rcx, context.rdx = in.rdx;
    context.rdi = (uint64_t)buffer, context.rflags = in.rflags, context.code = (uint64_t)page;
    caught = 0;
    run(&context);
    const uint8_t *fo = context.fx_out;
    uint16_t status;
    memcpy(&status, fo + 2, 2);
    int top = (status >> 11) & 7;
    memcpy(out.xmm, fo + 160, 48);
    memcpy(out.mem, buffer, 32);
    for (int n = 1; n <= 2; n++) {
      memcpy(&out.mm[n - 1], fo + 32 + ((n - top) & 7) * 16, 8);
      memcpy(&out.exponent[n - 1], fo + 32 + ((n - top) & 7) * 16 + 8, 2);
    }
    out.rax = context.rax, out.rcx = context.rcx, out.rdx = context.rdx;
    memcpy(&out.mxcsr, fo + 24, 4);
    out.rflags = (uint32_t)context.rflags;
    out.signal = caught;
    out.x87 = fo[4] | top << 8;
    fwrite(&out, sizeof out, 1, stdout);
  }
  return 0;
}

/* Segment descriptors: every type, DPL and presence, loaded into data and stack segments, asked about by LAR, LSL, VERR
 * and VERW, jumped and returned to, at levels 0 and 3 with RPL 0, 1 and 3. One line for each descriptor and level. */
#include "guest.h"

#define SELECTOR 0x200

/* Each gets the selector in (r|e)di and leaves what it found in eax. */
#define STUB(name, code) __asm__(".balign 16\n" #name ": " code "\nint $0x40"); extern const uint8_t name[]
STUB(load_ds, "mov %edi, %eax\n mov %ax, %ds\n mov %ds, %eax");
STUB(load_ss, "mov %edi, %eax\n mov %ax, %ss\n mov %ss, %eax");
STUB(load_gs, "mov %edi, %eax\n mov %ax, %gs\n mov %gs, %eax");
STUB(ask_lar, "mov $0x55555555, %eax\n lar %edi, %eax");
STUB(ask_lsl, "mov $0x55555555, %eax\n lsl %edi, %eax");
STUB(ask_verr, "xor %eax, %eax\n verr %di\n setz %al");
STUB(ask_verw, "xor %eax, %eax\n verw %di\n setz %al");
#ifdef WIDE
STUB(far_jump, "shl $32, %rdi\n lea 1f(%rip), %rax\n or %rdi, %rax\n push %rax\n ljmp *(%rsp)\n 1:");
STUB(far_return, "mov $0x23, %eax\n push %rax\n push %rsp\n push %rdi\n lea 1f(%rip), %rax\n push %rax\n lretq\n 1:");
#else
STUB(far_jump, "push %edi\n push $1f\n ljmp *(%esp)\n 1:");
STUB(far_return, "push $0x23\n push %esp\n push %edi\n push $1f\n lret\n 1:");
#endif

static void ask(const uint8_t *stub, word level, word selector, int digits, uint32_t mask) {
  run(stub, level, selector);
  put_event();
  if (event.vector == 0x40 && digits) {
    put("=");
    put_hex(event.ax & ~mask, digits);
  }
}
static void transfer(const uint8_t *stub, word level, word selector) {
  run(stub, level, selector);
  put_event();
  if (event.vector != 0x40) return;
  put("=");
  put_hex(event.cs & 0xffff, 4);
}

static void descriptor(unsigned type, unsigned dpl, unsigned present, uint64_t flags) {
  /* All of the address space; an expand-down segment has that with the lowest limit. */
  uint64_t limit = (type & 0x1c) == 0x14 ? 0 : 0xfull << 48 | 0xffff;
  gdt[SELECTOR / 8] = limit | (uint64_t)(type | dpl << 5 | present << 7) << 40 | flags << 52;
  uint64_t before = gdt[SELECTOR / 8];
  for (word level = 0; level <= 3; level += 3) {
    put_hex(type, 2);
    put(present ? " p" : " -");
    put_hex(dpl, 1);
    put(" f");
    put_hex(flags, 1);
    put(" level ");
    put_hex(level, 1);
    put(":");
    static const unsigned rpls[] = { 0, 1, 3 };
    for (int n = 0; n < 3; n++) {
      word selector = SELECTOR | rpls[n];
      gdt[SELECTOR / 8] = before;
      ask(load_ds, level, selector, 4, 0);
      put(gdt[SELECTOR / 8] == before ? "" : "*"); /* accessed */
      ask(load_ss, level, selector, 4, 0);
      ask(load_gs, level, selector, 4, 0);
      gdt[SELECTOR / 8] = before;
      /* LAR leaves bits 16 to 19 undefined. */
      ask(ask_lar, level, selector, 8, 0xf0000);
      ask(ask_lsl, level, selector, 8, 0);
      ask(ask_verr, level, selector, 1, 0);
      ask(ask_verw, level, selector, 1, 0);
      /* Tasks are another test's business. */
      if ((type & 0x10) || !(type == 1 || type == 5 || type == 9)) transfer(far_jump, level, selector);
      if (type & 0x10) transfer(far_return, level, selector);
      put(" |");
    }
    put("\n");
  }
}

void main(void) {
  make_tables();
#ifdef WIDE
  /* All of memory for users, too. */
  for (int i = 0; i < 512; i++) ((volatile uint64_t *)(TABLES + 0x2000))[i] |= 4;
  *(volatile uint64_t *)(TABLES) |= 4;
  *(volatile uint64_t *)(TABLES + 0x1000) |= 4;
  WRITE_CR(3, READ_CR(3));
#endif
  for (unsigned type = 0; type < 32; type++)
    for (unsigned dpl = 0; dpl < 4; dpl++)
      for (unsigned present = 0; present < 2; present++) {
        descriptor(type, dpl, present, 0xc);
#ifdef WIDE
        if (type >= 0x18) {
          descriptor(type, dpl, present, 0xa);
          descriptor(type, dpl, present, 0xe); /* L and D: reserved */
        }
#endif
      }
  put("end\n");
}

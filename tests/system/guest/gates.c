/* Gates: INT through every kind of IDT entry, far calls and jumps through call gates, at levels 0 and 3, into code
 * segments of every kind. A line tells the event, the code segment that was reached and how deep its stack is. */
#include "guest.h"

#define TARGET 0x200 /* the code segment that gates lead to */
#define GATE 0x208
#define VECTOR 0x60

#define STUB(name, code) __asm__(".balign 16\n" #name ": " code "\nint $0x40"); extern const uint8_t name[]
STUB(interrupt, "int $0x60");
#ifdef WIDE
STUB(landing, "mov %rsp, %rax");
STUB(gate_call, "push %rdi\n push $0\n mov %rsp, %rax\n rex.W lcall *(%rax)");
STUB(gate_jump, "push %rdi\n push $0\n mov %rsp, %rax\n rex.W ljmp *(%rax)");
#else
STUB(landing, "mov %esp, %eax");
STUB(gate_call, "push $0x1111\n push $0x2222\n push %edi\n push $0\n lcall *(%esp)");
STUB(gate_jump, "push %edi\n push $0\n ljmp *(%esp)");
#endif

extern word resume_sp;
extern uint64_t idt[512];

/* Type, DPL and presence of what gates lead to. */
static const uint8_t targets[] = { 0x9a, 0xfa, 0x98, 0x9e, 0xfe, 0xda, 0x92, 0xf2, 0x1a, 0x7a, 0x8b };

static void set_target(uint8_t access) {
#ifdef WIDE
  uint64_t flags = 0xa;
#else
  uint64_t flags = 0xc;
#endif
  gdt[TARGET / 8] = 0xffff | 0xfull << 48 | flags << 52 | (uint64_t)access << 40;
}
/* A gate to the landing place. */
static void set_gate(uint64_t *where, uint8_t access, unsigned selector, unsigned count) {
  word to = (word)landing;
  where[0] = (to & 0xffff) | (uint64_t)selector << 16 | (uint64_t)count << 32 | (uint64_t)access << 40 | (uint64_t)(to >> 16 & 0xffff) << 48;
#ifdef WIDE
  where[1] = to >> 32;
#endif
}

static void tell(void) {
  put_event();
  if (event.vector != 0x40) return;
  put("=");
  put_hex(event.cs & 0xffff, 4);
  put(":");
  put_hex((resume_sp - event.ax) & 0xffff, 4);
}
static void label(const char *what, unsigned gate, uint8_t target) {
  put(what);
  put(" ");
  put_hex(gate, 2);
  put(" to ");
  put_hex(target, 2);
  put(":");
}

/* Types that are 16-bit or lead to tasks are another test's business, unless something else is wrong with them. */
static int is_tame(unsigned access) {
  unsigned type = access & 0x1f;
  return !(access & 0x80) || !(type == 4 || type == 5 || type == 6 || type == 7 || type == 1 || type == 9);
}

static void interrupts(uint8_t target) {
  for (unsigned access = 0; access < 0x100; access++) {
    if (!is_tame(access)) continue;
    label("int", access, target);
    for (unsigned rpl = 0; rpl <= 3; rpl += 3)
      for (word level = 0; level <= 3; level += 3) {
#ifdef WIDE
        set_gate(&idt[2 * VECTOR], (uint8_t)access, TARGET | rpl, 0);
#else
        set_gate(&idt[VECTOR], (uint8_t)access, TARGET | rpl, 0);
#endif
        run(interrupt, level, 0);
        tell();
      }
    put("\n");
  }
}

static void calls(uint8_t target) {
  for (unsigned dpl = 0; dpl < 4; dpl++)
    for (unsigned present = 0; present < 2; present++)
      for (unsigned count = 0; count < 3; count += 2) {
        unsigned access = 0x0c | dpl << 5 | present << 7;
        label(count ? "call gate with 2" : "call gate", access, target);
        for (unsigned gate_rpl = 0; gate_rpl <= 3; gate_rpl += 3)
          for (word rpl = 0; rpl < 4; rpl++)
            for (word level = 0; level <= 3; level += 3) {
              set_gate(&gdt[GATE / 8], (uint8_t)access, TARGET | gate_rpl, count);
              run(gate_call, level, GATE | rpl);
              tell();
              run(gate_jump, level, GATE | rpl);
              tell();
            }
        put("\n");
      }
}

void main(void) {
  make_tables();
#ifdef WIDE
  for (int i = 0; i < 512; i++) ((volatile uint64_t *)(TABLES + 0x2000))[i] |= 4;
  *(volatile uint64_t *)(TABLES) |= 4;
  *(volatile uint64_t *)(TABLES + 0x1000) |= 4;
  WRITE_CR(3, READ_CR(3));
#endif
  for (unsigned n = 0; n < sizeof targets; n++) {
    set_target(targets[n]);
    interrupts(targets[n]);
    calls(targets[n]);
  }
  put("end\n");
}

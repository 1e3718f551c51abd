/* The guests' log and tables. */
#include "guest.h"

volatile struct event event;
word run_flags = 2;
word resume_sp;
uint64_t gdt[512];
uint64_t idt[512];
uint32_t task[32];
extern const uint8_t entries[][16];

static void put_char(char c) { __asm__ volatile("outb %0, $0xe9" : : "a"(c)); }
void put(const char *text) {
  for (; *text; text++) put_char(*text);
}
void put_hex(uint64_t value, int digits) {
  while (digits--) put_char("0123456789abcdef"[(uint32_t)(value >> (4 * digits)) & 15]);
}
void put_event(void) {
  if (event.vector == 0x40) {
    put(" --");
    return;
  }
  put(" ");
  put_hex(event.vector, 2);
  if (event.error) {
    put(".");
    put_hex(event.error, event.error > 0xff ? 4 : 2);
  }
}

void make_tables(void) {
  static const uint64_t first[] = {
#ifdef WIDE
    0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00affb000000ffff, 0x00cff3000000ffff,
#else
    0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff,
#endif
  };
  for (int i = 0; i < 5; i++) gdt[i] = first[i];
  word base = (word)task;
  gdt[5] = 0x0000890000000067 | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24 & 0xff) << 56;
#ifndef WIDE
  task[2] = 0x10;
#endif
  for (int i = 0; i < 256; i++) {
    word entry = (word)entries[i];
    uint64_t gate = (entry & 0xffff) | 0x08 << 16 | (uint64_t)(i == 0x40 ? 0xee00 : 0x8e00) << 32 | (uint64_t)(entry >> 16) << 48;
#ifdef WIDE
    idt[2 * i] = gate;
#else
    idt[i] = gate;
#endif
  }
  struct __attribute__((packed)) { uint16_t limit; word base; } gdtr = { sizeof gdt - 1, (word)gdt }, idtr = { sizeof idt - 1, (word)idt };
#ifndef WIDE
  idtr.limit = 256 * 8 - 1;
#endif
  __asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdtr), "m"(idtr), "r"(0x28));
#ifdef WIDE
  __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; lea 1f(%%rip), %%rax; push $8; push %%rax; lretq; 1:" : : "r"(0x10) : "rax", "memory");
#endif
}

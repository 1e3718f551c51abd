/* What the system test guests share: a log on port 0xE9, descriptor tables, `run` and what it reports. */
#pragma once
#include <stdint.h>

#ifdef WIDE
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

/* The event that ended the last run; eax is what the code left there. Each field has room for 64 bits. */
struct event {
  uint32_t vector, unused;
  uint64_t error, ip, cs, flags, ax, cr2;
};
extern volatile struct event event;
extern word run_flags;
/* Runs code at level 0 or 3 with the argument in (r|e)di until any event; 0x40 is the normal end. */
void run(const void *code, word level, word argument);
extern const uint8_t stubs[], stop_read[], stop_write[], stop_execute[];

void put(const char *text);
void put_hex(uint64_t value, int digits);
void put_event(void); /* "--" for the normal end, else vector and error code */
void make_tables(void);
extern uint64_t gdt[512];

#define READ_CR(n) ({ word v; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)); v; })
#define WRITE_CR(n, v) __asm__ volatile("mov %0, %%cr" #n : : "r"((word)(v)) : "memory")
#define INVLPG(a) __asm__ volatile("invlpg (%0)" : : "r"((word)(a)) : "memory")

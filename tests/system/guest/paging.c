/* Page faults: every combination of rights at two levels of the page tables, in every paging mode, by supervisor and
 * user, reading, writing and executing, with CR0.WP, NX, SMEP and SMAP on and off; then reserved bits. Each line tells
 * the six events and the accessed and dirty bits that were left. */
#include "guest.h"

/* Linear addresses. The upper level is the page directory, the lower one the page table. */
#define TARGET 0xc00000ul      /* where the accesses go: its entries vary */
#define SHARED 0x800000ul      /* the stubs, for user code */
#define FRAME 0x300000ul       /* what TARGET maps: code that ends the run */
#define POOL 0x200000ul        /* page tables */
#define EXECUTED 0x20          /* offset in a frame of code that ends the run */
#define LARGE_FRAME 0x400000ul /* what TARGET maps when it is a large page */

#define P 1
#define W 2
#define U 4
#define A 0x20
#define D 0x40
#define PS 0x80
#define NX (1ull << 63)
#define CR0_WP 0x10000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define AC 0x40000

static int is_wide_entry; /* 8 bytes: PAE and 4-level */
static word directory, table, stub_table; /* physical = linear, in the pool */
static unsigned target_pde, target_pte;

static void set_entry(word table_address, unsigned index, uint64_t value) {
  if (is_wide_entry) ((volatile uint64_t *)table_address)[index] = value;
  else ((volatile uint32_t *)table_address)[index] = (uint32_t)value;
}
static uint64_t get_entry(word table_address, unsigned index) {
  return is_wide_entry ? ((volatile uint64_t *)table_address)[index] : ((volatile uint32_t *)table_address)[index];
}
static void clear(word address) {
  for (int i = 0; i < 1024; i++) ((volatile uint32_t *)address)[i] = 0;
}

/* Identity for supervisor code below 8 MiB in large pages, the stubs' page for users, and room for TARGET. */
static void build(int wide) {
  is_wide_entry = wide;
  for (word page = POOL; page < POOL + 0x6000; page += 0x1000) clear(page);
  directory = POOL + 0x1000;
  table = POOL + 0x2000;
  stub_table = POOL + 0x3000;
  unsigned shift = wide ? 21 : 22;
  for (word address = 0; address < 0x800000; address += 1ul << shift) set_entry(directory, address >> shift, address | PS | W | P);
  set_entry(directory, SHARED >> shift, stub_table | U | W | P);
  set_entry(stub_table, 0, (word)stubs | U | P);
  set_entry(stub_table, 1, 0x10000 | U | W | P);
  target_pde = TARGET >> shift;
  target_pte = 0;
}
static const void *shared(const uint8_t *stub) { return (const void *)(SHARED + (word)(stub - stubs)); }

static void flush(void) { WRITE_CR(3, READ_CR(3)); }

/* The six accesses: supervisor and user, each reading, writing, executing. */
static void accesses(int is_large) {
  static const uint8_t *const kinds[] = { stop_read, stop_write, stop_execute };
  for (int level = 0; level <= 3; level += 3)
    for (int k = 0; k < 3; k++) {
      flush();
      word target = TARGET + (k == 2 ? EXECUTED : 0x10);
      run(level ? shared(kinds[k]) : kinds[k], level, target);
      put_event();
      if (event.vector == 14 && event.cr2 != target) put("!");
    }
  uint64_t pde = get_entry(directory, target_pde), pte = get_entry(table, target_pte);
  put(pde & A ? " A" : " -");
  if (is_large) put(pde & D ? "D" : "-");
  else {
    put(pte & A ? "A" : "-");
    put(pte & D ? "D" : "-");
  }
  put("\n");
}

static void rights(const char *mode, int is_large, int has_nx) {
  for (unsigned n = 0; n < (is_large ? 8u : 64u); n++)
    for (int x = 0; x < (has_nx ? (is_large ? 2 : 4) : 1); x++) {
      uint64_t upper = (n & 7) | (x & 1 ? NX : 0), lower = (n >> 3) | (x & 2 ? NX : 0);
      put(mode);
      put(" ");
      put_hex(upper & 7, 1);
      put(x & 1 ? "x" : " ");
      put_hex(lower & 7, 1);
      put(x & 2 ? "x" : " ");
      set_entry(directory, target_pde, is_large ? upper | PS | LARGE_FRAME : upper | table);
      set_entry(table, target_pte, lower | FRAME);
      accesses(is_large);
    }
}

/* Every high address bit alone in a present entry: reserved ones fault with RSVD. Bits of existing memory are left
 * out, and bits 13 to 20 of a 4 MiB page: memory above 4 GiB (PSE-36) that is not there. */
static void reserved(const char *mode, int is_large) {
  for (int bit = is_wide_entry ? (is_large ? 12 : 40) : (is_large ? 21 : 32); bit < (is_wide_entry ? 63 : is_large ? 22 : 32); bit++) {
    if (is_large && is_wide_entry && bit > 20 && bit < 40) continue;
    if (is_large && bit == 12) continue; /* PAT */
    if (bit >= 52 && bit < 63) continue; /* ignored, and not interesting */
    put(mode);
    put(" bit ");
    put_hex((uint64_t)bit, 2);
    uint64_t one = 1ull << bit;
    set_entry(directory, target_pde, is_large ? U | W | P | PS | LARGE_FRAME | one : U | W | P | table);
    set_entry(table, target_pte, U | W | P | FRAME | (is_large ? 0 : one));
    accesses(is_large);
  }
}

static void all_rights(const char *mode, int is_large, int has_nx) {
  for (int wp = 0; wp < 2; wp++)
    for (int guard = 0; guard < 5; guard++) {
      word cr4 = READ_CR(4) & ~(word)(CR4_SMEP | CR4_SMAP);
      WRITE_CR(0, (READ_CR(0) & ~(word)CR0_WP) | (wp ? CR0_WP : 0));
      WRITE_CR(4, cr4 | (guard & 1 ? CR4_SMEP : 0) | (guard & 2 || guard == 4 ? CR4_SMAP : 0));
      run_flags = 2 | (guard == 4 ? AC : 0);
      put(mode);
      put(wp ? " wp" : " no wp");
      put(guard & 1 ? " smep" : "");
      put(guard & 2 ? " smap" : guard == 4 ? " smap ac" : "");
      put("\n");
      rights(mode, is_large, has_nx);
    }
  run_flags = 2;
  WRITE_CR(4, READ_CR(4) & ~(word)(CR4_SMEP | CR4_SMAP));
  reserved(mode, is_large);
}

void main(void) {
  make_tables();
  *(volatile uint16_t *)(FRAME + EXECUTED) = 0x40cd;       /* int $0x40 */
  *(volatile uint16_t *)(LARGE_FRAME + EXECUTED) = 0x40cd;
#ifdef WIDE
  word pdpt = POOL + 0x4000, pml4 = POOL + 0x5000;
  build(1);
  ((volatile uint64_t *)pdpt)[0] = directory | U | W | P;
  ((volatile uint64_t *)pml4)[0] = pdpt | U | W | P;
  WRITE_CR(3, pml4);
  all_rights("4-level", 0, 1);
  all_rights("4-level 2M", 1, 1);
#else
  __asm__ volatile("wrmsr" : : "c"(0xc0000080), "a"(0), "d"(0));
  build(0);
  WRITE_CR(4, 0x10); /* PSE */
  WRITE_CR(3, directory);
  WRITE_CR(0, READ_CR(0) | 0x80000000);
  all_rights("32-bit", 0, 0);
  all_rights("32-bit 4M", 1, 0);
  WRITE_CR(0, READ_CR(0) & ~0x80000000ul);
  build(1);
  ((volatile uint64_t *)POOL)[0] = directory | P;
  WRITE_CR(4, 0x20); /* PAE */
  WRITE_CR(3, POOL);
  WRITE_CR(0, READ_CR(0) | 0x80000000);
  all_rights("PAE", 0, 0);
  all_rights("PAE 2M", 1, 0);
  __asm__ volatile("wrmsr" : : "c"(0xc0000080), "a"(0x800), "d"(0)); /* NXE */
  all_rights("PAE NX", 0, 1);
  all_rights("PAE NX 2M", 1, 1);
#endif
  put("end\n");
}

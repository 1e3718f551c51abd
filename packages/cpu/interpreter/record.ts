// A decoded instruction: 32 bytes in shared memory. The decoder writes it, the interpreter runs from it, the translator
// starts from it. State offsets are bytes from the vCPU's base, so that a handler reaches a register with one addition.

export const RECORD_BYTES = 32;

export const R = {
  /** u16: which handler runs it. */
  handler: 0,
  /** u8: length in bytes, prefixes included. */
  length: 2,
  /** u8: RECORD_FLAGS. */
  flags: 3,
  /** u16: offset of the first byte in its page. */
  pageOffset: 4,
  /** u16: state offset of ModRM.reg's register, or the number of a segment, control or debug register. */
  reg: 6,
  /** u16: state offset of ModRM.rm's register, of the opcode's register, or of the memory operand's base. */
  rm: 8,
  /** u16: state offset of the index register. */
  index: 10,
  /** u8: index scale as a shift. */
  scale: 12,
  /** u8: segment number of the memory operand. */
  segment: 13,
  /** u16: state offset of what to add as segment base (a constant zero where the base is zero by definition). */
  segmentBase: 14,
  /** i64: displacement, sign-extended; for RIP-relative operands relative to S.ripBase. */
  displacement: 16,
  /** i64: immediate, extended to the operand size. Far pointer: offset, selector << 32. ENTER: size, level << 16. x87: FOP. */
  immediate: 24,
  /** u16: state offset of VEX.vvvv's register; VEX instructions have an immediate of one byte at most. */
  vvvv: 28,
  /** u16: state offset of the register in bits 7–4 of the last byte. */
  is4: 30,
} as const;

export const RECORD_FLAGS = {
  rep: 1,
  repne: 2,
  lock: 4,
  /** The address needs wrapping or segment checks: everything but plain 64-bit addressing. */
  checkedAddress: 8,
  /** Address size: 16 << this field. */
  addressSize: 0x30,
  addressSizeShift: 4,
  /** Outside 64-bit mode with 32-bit addresses: flat segments need no check. */
  legacy32: 0x40,
} as const;

/** Handlers that are not instructions. */
export const PSEUDO_HANDLERS = {
  /** Ends the block: the next instruction is looked up anew. Also what an invalidated record becomes. */
  lookUp: 0,
  /** Proves that the page behind this one is still the one that the next record was decoded from. */
  verifyNextPage: 1,
} as const;

/**
 * Type of handlers and of translated regions: the vCPU; the record to run, or for a region called by another one the
 * ENTRY_POINT; rip, which handlers do not look at. Through memory, rip would reach the next region only when
 * the host has found out where that is (docs/design/translator.md).
 */
export const HANDLER_TYPE = { params: ['i32', 'i32', 'i64'], results: ['i32'] } as const;

/**
 * Where translated code is entered: the slot of the region's function in the table, and above it the number of the entry.
 * It is the immediate of the record that the interpreter runs to get there, and what the jump cache holds.
 */
export const ENTRY_POINT = {
  slot: 0xffff,
  numberShift: 16,
  /** No record has so low an address: what a region is called with is one or the other. */
  end: 0x100_0000,
} as const;

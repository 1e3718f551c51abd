// Bit fields of 32-bit registers, written as the datasheet prints them: bits(high, low).

/** A field of a register of at most 32 bits. */
export interface BitField {
  readonly shift: number;
  readonly width: number;
  /** The field's bits in place, unsigned. */
  readonly mask: number;
}

/** The field from bit `high` down to bit `low`, both included. */
export function bits(high: number, low: number): BitField {
  const width = high - low + 1;
  return {
    shift: low,
    width,
    mask: (width === 32 ? 0xffff_ffff : ((1 << width) - 1) << low) >>> 0,
  };
}

/** One bit. */
export function bit(index: number): BitField {
  return bits(index, index);
}

/** The field's value, unsigned and shifted down. */
export function get(register: number, field: BitField): number {
  return (register & field.mask) >>> field.shift;
}

/** The register with the field replaced; bits of `value` above the field are dropped. Unsigned. */
export function set(register: number, field: BitField, value: number): number {
  return ((register & ~field.mask) | ((value << field.shift) & field.mask)) >>> 0;
}

// An address space of the board: which device answers at which port or physical address.
// Fixed parts never overlap; PCI BARs are placed by the guest, so they may overlap anything and lose to
// whatever has the higher priority. Ports are found through a 64K table, memory by binary search.

import { assert } from '@mimic/base';
import { type AccessSize, allOnes, type Device } from '@mimic/devices';

/** What a range of addresses leads to; offsets count from the start of the range. */
export type Target = Pick<Device, 'read' | 'write'>;

/** One mapped range; also the handle that unmaps it. */
export interface Mapping {
  readonly base: number;
  readonly sizeBytes: number;
  readonly name: string;
  readonly device: Target;
  /** Among overlapping ranges the highest wins, then the one that was mapped first. */
  readonly priority: number;
}

/** An access that reached the board, as a tracer sees it: after the read, before the write. */
export interface Access {
  readonly kind: 'read' | 'write';
  readonly address: number;
  readonly size: AccessSize;
  readonly value: number;
  /** Name of the range that answers the first byte; undefined if nobody does. */
  readonly name: string | undefined;
}

/** Priority of the board's own parts: over every BAR, and never overlapping each other. */
export const FIXED_PRIORITY = 1;
/** Priority of ranges that the guest places. */
export const BAR_PRIORITY = 0;

/** A piece of the address space in which one mapping answers. `end` is exclusive. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly mapping: Mapping;
}

/** Spaces of at most this many addresses get a table with one entry for each address. */
const TABLE_SIZE_MAX = 0x1_0000;

export class AddressSpace {
  /** Called for every access when set; the only cost when unset is the test. */
  onAccess: ((access: Access) => void) | undefined;
  readonly #sizeBytes: number;
  readonly #mappings: Mapping[] = [];
  /** Sorted and disjoint; rebuilt from the mappings on the first access after a change. */
  #segments: Segment[] = [];
  #stale = false;
  /** Index into the segments plus one, 0 for nobody; only in a small space. */
  readonly #table: Uint16Array | undefined;
  #lastHit: Segment | undefined;

  /** `sizeBytes` is the number of addresses: 0x10000 for ports, 2^52 for memory. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#table = sizeBytes <= TABLE_SIZE_MAX ? new Uint16Array(sizeBytes) : undefined;
  }

  /** Maps `sizeBytes` addresses from `base` on. Two fixed ranges that overlap are a bug of the board. */
  map(
    base: number,
    sizeBytes: number,
    device: Target,
    name: string,
    priority: number = FIXED_PRIORITY,
  ): Mapping {
    assert(sizeBytes > 0, `${name} maps nothing`);
    assert(base >= 0 && base + sizeBytes <= this.#sizeBytes, `${name} lies outside its space`);
    if (priority > BAR_PRIORITY) {
      for (const other of this.#mappings) {
        const apart = base + sizeBytes <= other.base || other.base + other.sizeBytes <= base;
        assert(apart || other.priority !== priority, `${name} overlaps ${other.name}`);
      }
    }
    const mapping = { base, sizeBytes, device, name, priority };
    this.#mappings.push(mapping);
    this.#changed();
    return mapping;
  }

  unmap(mapping: Mapping): void {
    const index = this.#mappings.indexOf(mapping);
    assert(index >= 0, `${mapping.name} is not mapped`);
    this.#mappings.splice(index, 1);
    this.#changed();
  }

  /** All mapped ranges by address, for the monitor. */
  ranges(): readonly Mapping[] {
    return this.#mappings.toSorted((a, b) => a.base - b.base || b.priority - a.priority);
  }

  /** The range that answers at an address. */
  find(address: number): Mapping | undefined {
    return this.#find(address)?.mapping;
  }

  /** Unclaimed bytes read as ones. An access that no single range holds is split into bytes. */
  read(address: number, size: AccessSize): number {
    const segment = this.#find(address);
    const value =
      segment !== undefined && address + size <= segment.end
        ? segment.mapping.device.read(address - segment.mapping.base, size)
        : this.#readBytes(address, size);
    if (this.onAccess !== undefined) {
      this.onAccess({ kind: 'read', address, size, value, name: segment?.mapping.name });
    }
    return value;
  }

  /** Bytes that nobody claims vanish. */
  write(address: number, size: AccessSize, value: number): void {
    const segment = this.#find(address);
    if (this.onAccess !== undefined) {
      this.onAccess({ kind: 'write', address, size, value, name: segment?.mapping.name });
    }
    if (segment !== undefined && address + size <= segment.end) {
      segment.mapping.device.write(address - segment.mapping.base, size, value);
      return;
    }
    for (let index = 0; index < size; index++) {
      const byte = this.#find(address + index);
      const offset = address + index - (byte?.mapping.base ?? 0);
      byte?.mapping.device.write(offset, 1, (value >>> (index * 8)) & 0xff);
    }
  }

  /** An 8-byte access is two of 4 bytes, the low half first. */
  read64(address: number): bigint {
    const low = this.read(address, 4);
    const high = this.read(address + 4, 4);
    return (BigInt(high) << 32n) | BigInt(low);
  }

  write64(address: number, value: bigint): void {
    this.write(address, 4, Number(value & 0xffff_ffffn));
    this.write(address + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  #readBytes(address: number, size: AccessSize): number {
    let value = 0;
    for (let index = 0; index < size; index++) {
      const segment = this.#find(address + index);
      const byte =
        segment === undefined
          ? allOnes(1)
          : segment.mapping.device.read(address + index - segment.mapping.base, 1);
      value |= byte << (index * 8);
    }
    return value >>> 0;
  }

  #changed(): void {
    this.#stale = true;
    this.#lastHit = undefined;
  }

  #find(address: number): Segment | undefined {
    if (this.#stale) this.#rebuild();
    if (this.#table !== undefined) return this.#segments[(this.#table[address] ?? 0) - 1];
    const last = this.#lastHit;
    if (last !== undefined && address >= last.start && address < last.end) return last;
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle]!.end <= address) low = middle + 1;
      else high = middle;
    }
    const segment = this.#segments[low];
    if (segment === undefined || address < segment.start) return undefined;
    this.#lastHit = segment;
    return segment;
  }

  /** Cuts the space at every edge of a mapping and gives each piece to the winner of its mappings. */
  #rebuild(): void {
    this.#stale = false;
    this.#segments = flatten(this.#mappings);
    this.#table?.fill(0);
    for (const [index, segment] of this.#segments.entries()) {
      this.#table?.fill(index + 1, segment.start, segment.end);
    }
  }
}

function flatten(mappings: readonly Mapping[]): Segment[] {
  const edges = mappings.flatMap((mapping) => [mapping.base, mapping.base + mapping.sizeBytes]);
  const cuts = [...new Set(edges)].sort((a, b) => a - b);
  const segments: Segment[] = [];
  for (const [index, start] of cuts.entries()) {
    const end = cuts[index + 1];
    if (end === undefined) break;
    let winner: Mapping | undefined;
    for (const mapping of mappings) {
      const covers = mapping.base <= start && end <= mapping.base + mapping.sizeBytes;
      if (covers && (winner === undefined || mapping.priority > winner.priority)) winner = mapping;
    }
    if (winner === undefined) continue;
    const previous = segments.at(-1);
    if (previous?.mapping === winner && previous.end === start) {
      segments[segments.length - 1] = { start: previous.start, end, mapping: winner };
    } else {
      segments.push({ start, end, mapping: winner });
    }
  }
  return segments;
}

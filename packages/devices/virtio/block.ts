// Virtio block device. Virtio 1.2 §5.2. Data goes through buffers of our own in pieces, so a
// request of any size costs a bounded amount of memory, and the store may complete at once or
// later.
// Left out: several queues, topology, lifetime, secure erase, zoned devices.

import { assert, bit, get, loadLittleEndian, storeLittleEndian } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import type { Chain } from './chain.ts';
import { DETACHED, DEVICE_TYPE, type VirtioDevice, type VirtioLink } from './device.ts';
import { runSteps, type Steps } from './steps.ts';

/** What a store reports when it could not do what it was asked; the guest sees an I/O error. */
export interface BlockError {
  readonly message: string;
}

export type BlockDone = (error?: BlockError) => void;

/**
 * The disk behind the device. Offsets and lengths are in bytes and multiples of 512, within
 * `sizeBytes`. `done` is called exactly once, during the call or later. Buffers belong to the
 * device again after `done`.
 */
export interface BlockStore {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Up to 20 ASCII characters. */
  readonly serial: string;
  read(offset: number, into: Uint8Array[], done: BlockDone): void;
  write(offset: number, from: Uint8Array[], done: BlockDone): void;
  /** Everything written and done before is on stable storage when this is done. */
  flush(done: BlockDone): void;
  /** The content becomes undefined. */
  discard?(offset: number, length: number, done: BlockDone): void;
  writeZeroes?(offset: number, length: number, done: BlockDone): void;
}

/** Feature bits. §5.2.3. */
const BLK_F = {
  segMax: 2,
  ro: 5,
  blkSize: 6,
  flush: 9,
  configWce: 11,
  discard: 13,
  writeZeroes: 14,
};

/** Request types and status. §5.2.6. */
const REQUEST = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
const STATUS = { ok: 0, ioError: 1, unsupported: 2 } as const;
type Status = (typeof STATUS)[keyof typeof STATUS];

/** Configuration layout. §5.2.4. */
const CONFIG = {
  capacity: 0,
  segMax: 12,
  blkSize: 20,
  writeback: 32,
  maxDiscardSectors: 36,
  maxDiscardSeg: 40,
  discardSectorAlignment: 44,
  maxWriteZeroesSectors: 48,
  maxWriteZeroesSeg: 52,
  end: 60,
} as const;

const SECTOR_BYTES = 512;
const ID_BYTES = 20; // §5.2.6: VIRTIO_BLK_T_GET_ID.
const QUEUE_SIZE = 256;
const SEG_MAX = QUEUE_SIZE - 2; // The request's header and status take one descriptor each.
/** Requests in the hands of the store; the others wait in the ring. */
export const BLOCK_REQUESTS_MAX = 32;
/** Data moved by one call of the store. */
export const BLOCK_PIECE_BYTES = 256 * 1024;
/** Data of one request; drivers stay at a few MiB. */
export const BLOCK_REQUEST_BYTES_MAX = 64 * 1024 * 1024;
/** A discard or write zeroes request: segments, and sectors of each. */
const RANGE_SEGMENTS_MAX = 16;
const RANGE_SECTORS_MAX = 2 ** 22;
/** struct virtio_blk_discard_write_zeroes: sector u64, num_sectors u32, flags u32. */
const RANGE_BYTES = 16;
const RANGE_FLAGS = { unmap: bit(0) };

export interface BlockState {
  /** Cache mode chosen by the driver: false means write-through. §5.2.5.1. */
  writeback: boolean;
}

type Request = Steps<BlockError | undefined, Status>;

export class VirtioBlock implements VirtioDevice<BlockState> {
  readonly kind = 'virtio-block';
  readonly deviceType = DEVICE_TYPE.block;
  readonly features: readonly number[];
  readonly queueSizes = [QUEUE_SIZE];
  readonly #store: BlockStore;
  #link: VirtioLink = DETACHED;
  #state: BlockState = { writeback: true };
  /** Not state: the machine drains the device before it saves. */
  #inFlight = 0;
  #life = 0;
  #pumping = false;
  #idle: (() => void) | undefined;
  #draining = false;
  readonly #freeBuffers: Uint8Array[] = [];

  constructor(store: BlockStore) {
    this.#store = store;
    this.features = [
      BLK_F.segMax,
      BLK_F.blkSize,
      BLK_F.flush,
      BLK_F.configWce,
      ...(store.readOnly ? [BLK_F.ro] : []),
      ...(store.discard && !store.readOnly ? [BLK_F.discard] : []),
      ...(store.writeZeroes && !store.readOnly ? [BLK_F.writeZeroes] : []),
    ];
  }

  /** Whether no request is in the hands of the store. */
  get idle(): boolean {
    return this.#inFlight === 0;
  }

  attach(link: VirtioLink): void {
    this.#link = link;
  }

  readConfig(offset: number, size: AccessSize): number {
    return loadLittleEndian(this.#configBytes(), offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset !== CONFIG.writeback || size !== 1 || !this.#link.negotiated(BLK_F.configWce))
      return;
    this.#state.writeback = value !== 0;
  }

  notified(): void {
    this.#pump();
  }

  /** The store's size changed: the driver is told to read the capacity again. §5.2.5.2. */
  resized(): void {
    this.#link.configChanged();
  }

  reset(): void {
    this.#life += 1;
    this.#state = { writeback: true };
  }

  save(): BlockState {
    assert(this.idle, 'a block device is drained before it is saved');
    return structuredClone(this.#state);
  }

  restore(state: BlockState): void {
    this.#life += 1;
    this.#state = structuredClone(state);
  }

  drain(idle: () => void): void {
    this.#draining = true;
    if (this.idle) idle();
    else this.#idle = idle;
  }

  resume(): void {
    this.#draining = false;
    this.#idle = undefined;
    this.#pump();
  }

  #configBytes(): Uint8Array {
    const bytes = new Uint8Array(CONFIG.end);
    const sectors = this.#sectorCount();
    storeLittleEndian(bytes, CONFIG.capacity, 4, sectors);
    storeLittleEndian(bytes, CONFIG.capacity + 4, 4, Math.floor(sectors / 2 ** 32));
    storeLittleEndian(bytes, CONFIG.segMax, 4, SEG_MAX);
    storeLittleEndian(bytes, CONFIG.blkSize, 4, SECTOR_BYTES);
    bytes[CONFIG.writeback] = this.#state.writeback ? 1 : 0;
    if (this.#store.discard) {
      storeLittleEndian(bytes, CONFIG.maxDiscardSectors, 4, RANGE_SECTORS_MAX);
      storeLittleEndian(bytes, CONFIG.maxDiscardSeg, 4, RANGE_SEGMENTS_MAX);
      storeLittleEndian(bytes, CONFIG.discardSectorAlignment, 4, 1);
    }
    if (this.#store.writeZeroes) {
      storeLittleEndian(bytes, CONFIG.maxWriteZeroesSectors, 4, RANGE_SECTORS_MAX);
      storeLittleEndian(bytes, CONFIG.maxWriteZeroesSeg, 4, RANGE_SEGMENTS_MAX);
    }
    return bytes;
  }

  #sectorCount(): number {
    return Math.floor(this.#store.sizeBytes / SECTOR_BYTES);
  }

  /**
   * Takes requests from the ring while there is room. A completion inside the loop only marks
   * itself.
   */
  #pump(): void {
    const queue = this.#link.queues[0];
    if (this.#pumping || !queue) return;
    this.#pumping = true;
    while (!this.#draining && this.#inFlight < BLOCK_REQUESTS_MAX) {
      const chain = queue.next();
      if (!chain) break;
      // Without a place for the status there is no way to answer. §5.2.6.
      if (chain.writable.sizeBytes === 0) {
        queue.fail('block request without a status byte');
        break;
      }
      this.#inFlight += 1;
      this.#run(chain);
    }
    this.#pumping = false;
    queue.signal();
  }

  #run(chain: Chain): void {
    const life = this.#life;
    runSteps(this.#request(chain), {
      wanted: () => life === this.#life,
      finished: (status, { later }) => {
        this.#finish(chain, status);
        if (later) this.#pump();
      },
    });
  }

  /** Answers a request; one from before a reset has no status and no answer. */
  #finish(chain: Chain, status: Status | undefined): void {
    this.#inFlight -= 1;
    if (status !== undefined) {
      chain.writable.skip(chain.writable.remaining - 1);
      chain.writable.writeNumber(1, status);
      this.#link.queues[0]?.push(chain, chain.writable.position);
    }
    if (!this.idle || !this.#idle) return;
    const idle = this.#idle;
    this.#idle = undefined;
    this.#link.queues[0]?.signal();
    idle();
  }

  /** §5.2.6: header (type u32, reserved u32, sector u64), data, status. */
  *#request(chain: Chain): Request {
    const { readable } = chain;
    const type = readable.readNumber(4);
    readable.skip(4);
    const sectorLow = readable.readNumber(4);
    const sectorHigh = readable.readNumber(4);
    if (type === undefined || sectorLow === undefined || sectorHigh === undefined) {
      return STATUS.ioError;
    }
    const sector = sectorHigh * 2 ** 32 + sectorLow;
    switch (type) {
      case REQUEST.in:
        return yield* this.#transfer({ chain, sector, kind: 'read' });
      case REQUEST.out:
        return yield* this.#transfer({ chain, sector, kind: 'write' });
      case REQUEST.flush:
        return statusOf(yield (done) => this.#store.flush(done));
      case REQUEST.getId:
        return this.#getId(chain);
      case REQUEST.discard:
      case REQUEST.writeZeroes:
        return yield* this.#ranges(chain, type);
      default:
        return STATUS.unsupported;
    }
  }

  *#transfer(request: { chain: Chain; sector: number; kind: 'read' | 'write' }): Request {
    const { chain, sector, kind } = request;
    const store = this.#store;
    const lengthBytes = kind === 'read' ? chain.writable.remaining - 1 : chain.readable.remaining;
    if (lengthBytes % SECTOR_BYTES !== 0 || lengthBytes > BLOCK_REQUEST_BYTES_MAX) {
      return STATUS.ioError;
    }
    if (!this.#contains(sector, lengthBytes / SECTOR_BYTES)) return STATUS.ioError;
    if (kind === 'write' && store.readOnly) return STATUS.ioError;
    const buffer = this.#freeBuffers.pop() ?? new Uint8Array(BLOCK_PIECE_BYTES);
    try {
      for (let done = 0; done < lengthBytes; done += BLOCK_PIECE_BYTES) {
        const piece = buffer.subarray(0, Math.min(BLOCK_PIECE_BYTES, lengthBytes - done));
        const offset = sector * SECTOR_BYTES + done;
        if (kind === 'write') chain.readable.read(piece);
        const error = yield (finished) => store[kind](offset, [piece], finished);
        if (error) return STATUS.ioError;
        if (kind === 'read') chain.writable.write(piece);
      }
    } finally {
      this.#freeBuffers.push(buffer);
    }
    if (kind === 'write' && this.#writeThrough()) {
      return statusOf(yield (finished) => store.flush(finished));
    }
    return STATUS.ok;
  }

  /** §5.2.6.2: without a way to flush, the driver takes what is written for stable. */
  #writeThrough(): boolean {
    if (this.#link.negotiated(BLK_F.configWce)) return !this.#state.writeback;
    return !this.#link.negotiated(BLK_F.flush);
  }

  #getId(chain: Chain): Status {
    const id = new Uint8Array(Math.min(ID_BYTES, chain.writable.remaining - 1));
    for (let index = 0; index < id.length && index < this.#store.serial.length; index++) {
      id[index] = this.#store.serial.charCodeAt(index) & 0x7f;
    }
    chain.writable.write(id);
    return STATUS.ok;
  }

  *#ranges(chain: Chain, type: typeof REQUEST.discard | typeof REQUEST.writeZeroes): Request {
    const store = this.#store;
    const act = type === REQUEST.discard ? store.discard : store.writeZeroes;
    if (!act || store.readOnly) return STATUS.unsupported;
    const count = chain.readable.remaining / RANGE_BYTES;
    if (!Number.isInteger(count) || count === 0 || count > RANGE_SEGMENTS_MAX)
      return STATUS.ioError;
    for (let index = 0; index < count; index++) {
      const bytes = new Uint8Array(RANGE_BYTES);
      chain.readable.read(bytes);
      const high = loadLittleEndian(bytes, 4, 4);
      const sector = high * 2 ** 32 + loadLittleEndian(bytes, 0, 4);
      const sectors = loadLittleEndian(bytes, 8, 4);
      const flags = loadLittleEndian(bytes, 12, 4);
      // §5.2.6.2: unmap means something for write zeroes only, and there it is a wish.
      if ((flags & ~RANGE_FLAGS.unmap.mask) !== 0) return STATUS.unsupported;
      if (type === REQUEST.discard && get(flags, RANGE_FLAGS.unmap) === 1)
        return STATUS.unsupported;
      if (sectors > RANGE_SECTORS_MAX || !this.#contains(sector, sectors)) return STATUS.ioError;
      const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
      const error = yield (finished) => act.call(store, offset, length, finished);
      if (error) return STATUS.ioError;
    }
    return STATUS.ok;
  }

  #contains(sector: number, sectors: number): boolean {
    return sector + sectors <= this.#sectorCount();
  }
}

function statusOf(error: BlockError | undefined): Status {
  return error ? STATUS.ioError : STATUS.ok;
}

// Virtio network device. Virtio 1.2 §5.1: one queue pair, mergeable receive buffers, and a control
// queue for the receive filter. Left out: checksum and segmentation offload (frames cross as they
// are on the wire), several queue pairs, VLAN filtering, announcements.

import { assert, bit, get, loadLittleEndian, set, storeLittleEndian } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import type { Chain } from './chain.ts';
import { DETACHED, DEVICE_TYPE, type VirtioDevice, type VirtioLink } from './device.ts';
import {
  acceptsFrame,
  MAC_BYTES,
  type ReceiveFilter,
  resetFilter,
  setAddress,
  setAddressTable,
  setReceiveMode,
} from './net-filter.ts';
import type { Virtqueue } from './queue.ts';

/** The other end of the cable. Frames are Ethernet frames without FCS; the callee owns them. */
export interface NetworkBackend {
  send(frame: Uint8Array): void;
}

/** Feature bits. §5.1.3. */
const NET_F = { mtu: 3, mac: 5, mrgRxbuf: 15, status: 16, ctrlVq: 17, ctrlRx: 18, ctrlMacAddr: 23 };

/** Configuration layout. §5.1.4. */
const CONFIG = { mac: 0, status: 6, maxVirtqueuePairs: 8, mtu: 10, end: 12 } as const;
const STATUS = { linkUp: bit(0) };

/** struct virtio_net_hdr with num_buffers at its end, which version 1 always has. §5.1.6. */
const HEADER_BYTES = 12;
const HEADER_NUM_BUFFERS = 10;

/** Control commands. §5.1.6.5. */
const CONTROL_RX = 0;
const CONTROL_MAC = 1;
const CONTROL_MAC_TABLE_SET = 0;
const CONTROL_MAC_ADDR_SET = 1;
const CONTROL_OK = 0;
const CONTROL_ERROR = 1;

const QUEUE_SIZE = 256;
const CONTROL_QUEUE_SIZE = 64;
const [RECEIVE, TRANSMIT, CONTROL] = [0, 1, 2];
/** An Ethernet frame: the largest MTU (65535), header and a VLAN tag. */
export const FRAME_BYTES_MAX = 65_535 + 18;
const FRAME_BYTES_MIN = 14;
/** Frames that wait for the driver's buffers, and their bytes; beyond these they are dropped. */
export const NET_WAITING_FRAMES_MAX = 256;
export const NET_WAITING_BYTES_MAX = 512 * 1024;

export interface NetState {
  filter: ReceiveFilter;
  status: number;
  waiting: Uint8Array[];
  /** Frames given to the back end. */
  sent: number;
  /** Frames lost because nobody could take them, and frames that the receive filter turned away. */
  dropped: number;
  filtered: number;
}

export class VirtioNet implements VirtioDevice<NetState> {
  readonly kind = 'virtio-net';
  readonly deviceType = DEVICE_TYPE.network;
  readonly features: readonly number[];
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, CONTROL_QUEUE_SIZE];
  readonly #backend: NetworkBackend;
  readonly #mac: Uint8Array;
  readonly #mtu: number | undefined;
  #link: VirtioLink = DETACHED;
  #state: NetState;

  /** `mac` is 6 bytes; `mtu` is told to the driver if given. */
  constructor(backend: NetworkBackend, options: { mac: Uint8Array; mtu?: number }) {
    assert(options.mac.length === MAC_BYTES, 'a MAC address has 6 bytes');
    this.#backend = backend;
    this.#mac = options.mac.slice();
    this.#mtu = options.mtu;
    this.#state = resetState(this.#mac);
    this.features = [
      ...[NET_F.mac, NET_F.mrgRxbuf, NET_F.status],
      ...[NET_F.ctrlVq, NET_F.ctrlRx, NET_F.ctrlMacAddr],
      ...(options.mtu === undefined ? [] : [NET_F.mtu]),
    ];
  }

  /** Frames sent, lost for want of buffers or a link, and turned away by the receive filter. */
  get counters(): { sent: number; dropped: number; filtered: number } {
    const { sent, dropped, filtered } = this.#state;
    return { sent, dropped, filtered };
  }

  attach(link: VirtioLink): void {
    this.#link = link;
  }

  readConfig(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIG.end);
    bytes.set(this.#state.filter.mac, CONFIG.mac);
    storeLittleEndian(bytes, CONFIG.status, 2, this.#state.status);
    storeLittleEndian(bytes, CONFIG.maxVirtqueuePairs, 2, 1);
    storeLittleEndian(bytes, CONFIG.mtu, 2, this.#mtu ?? 0);
    return loadLittleEndian(bytes, offset, size);
  }

  /** §5.1.4: all of it is read-only; the address is set by a control command. */
  writeConfig(): void {}

  /** Plugs the cable in or out. */
  setLinkUp(up: boolean): void {
    const status = set(this.#state.status, STATUS.linkUp, up ? 1 : 0);
    if (status === this.#state.status) return;
    this.#state.status = status;
    this.#link.configChanged();
  }

  /**
   * A frame for the guest, which the device copies. False if it was lost: no driver, no room, not a
   * frame. A frame that the guest's filter turns away counts as received.
   */
  receive(frame: Uint8Array): boolean {
    const state = this.#state;
    const sized = frame.length >= FRAME_BYTES_MIN && frame.length <= FRAME_BYTES_MAX;
    if (!sized || !this.#link.running || get(state.status, STATUS.linkUp) === 0)
      return this.#drop();
    if (!acceptsFrame(state.filter, frame)) {
      state.filtered += 1;
      return true;
    }
    const waitingBytes = state.waiting.reduce((sum, waiting) => sum + waiting.length, 0);
    if (state.waiting.length >= NET_WAITING_FRAMES_MAX) return this.#drop();
    if (waitingBytes + frame.length > NET_WAITING_BYTES_MAX) return this.#drop();
    state.waiting.push(frame.slice());
    this.#deliver();
    return true;
  }

  notified(queueIndex: number): void {
    if (queueIndex === RECEIVE) this.#deliver();
    else if (queueIndex === TRANSMIT) this.#transmit();
    else this.#takeControl();
  }

  reset(): void {
    const { status } = this.#state;
    this.#state = { ...resetState(this.#mac), status };
  }

  save(): NetState {
    return structuredClone(this.#state);
  }

  restore(state: NetState): void {
    this.#state = structuredClone(state);
  }

  #drop(): false {
    this.#state.dropped += 1;
    return false;
  }

  #deliver(): void {
    const queue = this.#link.queues[RECEIVE]!;
    const { waiting } = this.#state;
    while (waiting.length > 0 && this.#place(queue, waiting[0]!)) waiting.shift();
    queue.signal();
  }

  /** Puts a frame into the driver's buffers; false if there are not enough yet. §5.1.6.4. */
  #place(queue: Virtqueue, frame: Uint8Array): boolean {
    const needed = HEADER_BYTES + frame.length;
    const chains: Chain[] = [];
    let room = 0;
    while (room < needed) {
      const chain = queue.next();
      if (!chain) {
        queue.untake(chains.length);
        if (chains.length < queue.size) return false;
        // The whole ring is not enough, so waiting would not help.
        this.#drop();
        return true;
      }
      chains.push(chain);
      room += chain.writable.sizeBytes;
      // A driver without mergeable buffers must offer room for a whole frame; this one gets none.
      if (!this.#link.negotiated(NET_F.mrgRxbuf) && room < needed) {
        queue.push(chain, 0);
        this.#drop();
        return true;
      }
      if (chain.writable.sizeBytes < HEADER_BYTES) {
        queue.fail('receive buffer too small for a header');
        return false;
      }
    }
    this.#fill(queue, chains, frame);
    return true;
  }

  #fill(queue: Virtqueue, chains: readonly Chain[], frame: Uint8Array): void {
    const packet = new Uint8Array(HEADER_BYTES + frame.length);
    storeLittleEndian(packet, HEADER_NUM_BUFFERS, 2, chains.length);
    packet.set(frame, HEADER_BYTES);
    let done = 0;
    for (const chain of chains) {
      const written = chain.writable.write(packet.subarray(done));
      done += written;
      queue.push(chain, written);
    }
  }

  /** §5.1.6.2. The header asks for offloads only if they were negotiated, which they never are. */
  #transmit(): void {
    const queue = this.#link.queues[TRANSMIT]!;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      chain.readable.skip(HEADER_BYTES);
      const lengthBytes = chain.readable.remaining;
      if (lengthBytes < FRAME_BYTES_MIN || lengthBytes > FRAME_BYTES_MAX) {
        this.#drop();
      } else {
        const frame = new Uint8Array(lengthBytes);
        chain.readable.read(frame);
        this.#send(frame);
      }
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #send(frame: Uint8Array): void {
    if (get(this.#state.status, STATUS.linkUp) === 0) {
      this.#drop();
      return;
    }
    this.#state.sent += 1;
    this.#backend.send(frame);
  }

  #takeControl(): void {
    const queue = this.#link.queues[CONTROL]!;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      const command = chain.readable.readNumber(1);
      const detail = chain.readable.readNumber(1);
      const ok =
        command !== undefined && detail !== undefined && this.#control(command, detail, chain);
      chain.writable.writeNumber(1, ok ? CONTROL_OK : CONTROL_ERROR);
      queue.push(chain, chain.writable.position);
    }
    queue.signal();
  }

  #control(command: number, detail: number, chain: Chain): boolean {
    const { filter } = this.#state;
    if (command === CONTROL_RX) return setReceiveMode(filter, detail, chain.readable);
    if (command !== CONTROL_MAC) return false;
    if (detail === CONTROL_MAC_ADDR_SET) return setAddress(filter, chain.readable);
    return detail === CONTROL_MAC_TABLE_SET && setAddressTable(filter, chain.readable);
  }
}

function resetState(mac: Uint8Array): NetState {
  return {
    filter: resetFilter(mac),
    status: STATUS.linkUp.mask,
    waiting: [],
    sent: 0,
    dropped: 0,
    filtered: 0,
  };
}

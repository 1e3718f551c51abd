// Virtio console. Virtio 1.2 §5.3: port 0 is a console, further ports are named byte channels
// (multiport). Input is never kept here: `receive` takes what the driver has buffers for, and the
// caller keeps the rest until `onRoom`. Left out: adding and removing ports while the machine runs.

import { assert, type ByteSink, loadLittleEndian, storeLittleEndian } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import { DETACHED, DEVICE_TYPE, type VirtioDevice, type VirtioLink } from './device.ts';

/** Feature bits. §5.3.3. */
const CONSOLE_F = { size: 0, multiport: 1, emergWrite: 2 };

/** Configuration layout. §5.3.4. */
const CONFIG = { cols: 0, rows: 2, maxNrPorts: 4, emergWr: 8, end: 12 } as const;

/** Control messages: id u32, event u16, value u16. §5.3.6.2. */
const CONTROL = {
  deviceReady: 0,
  deviceAdd: 1,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;
const CONTROL_BYTES = 8;

const QUEUE_SIZE = 128;
const CONTROL_QUEUE_SIZE = 64;
const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;
export const CONSOLE_PORTS_MAX = 16;
/**
 * Control messages that wait for the driver's buffers: a few for each port, and then it is the
 * driver's fault.
 */
const CONTROL_PENDING_MAX = 128;
/** Output taken from one chain; drivers stay at a page or two. */
export const CONSOLE_OUTPUT_BYTES_MAX = 1024 * 1024;

export interface ConsolePortOptions {
  /** Shown by the guest under /dev/virtio-ports; port 0 needs none. */
  readonly name?: string;
  readonly out: ByteSink;
  /** The guest's program opened or closed the port. */
  readonly openChanged?: (open: boolean) => void;
}

/** The host's end of a port. */
export interface ConsolePort {
  readonly name: string;
  /** Whether a program in the guest has the port open; always true for the console. */
  readonly guestOpen: boolean;
  /** Gives input to the guest; returns how many of the bytes it had room for. */
  receive(bytes: Uint8Array): number;
  /** Called when a `receive` that was cut short is worth another try. */
  onRoom: (() => void) | undefined;
}

export interface ConsoleState {
  cols: number;
  rows: number;
  guestOpen: boolean[];
  /** Control messages on their way to the driver. */
  pending: Uint8Array[];
}

export class VirtioConsole implements VirtioDevice<ConsoleState> {
  readonly kind = 'virtio-console';
  readonly deviceType = DEVICE_TYPE.console;
  readonly features = [CONSOLE_F.size, CONSOLE_F.multiport, CONSOLE_F.emergWrite];
  readonly queueSizes: readonly number[];
  readonly ports: readonly ConsolePort[];
  readonly #options: readonly ConsolePortOptions[];
  readonly #resizeOrder: 'colsRows' | 'rowsCols';
  #link: VirtioLink = DETACHED;
  #state: ConsoleState;

  /**
   * The first port is the console. `resizeOrder`: §5.3.6.2 puts columns before rows, but Linux
   * before 6.15 reads a resize message the other way round; pick what the guest understands.
   */
  constructor(
    ports: readonly ConsolePortOptions[],
    options: { cols?: number; rows?: number; resizeOrder?: 'colsRows' | 'rowsCols' } = {},
  ) {
    assert(ports.length > 0 && ports.length <= CONSOLE_PORTS_MAX, 'a console has 1 to 16 ports');
    this.#options = ports;
    this.#resizeOrder = options.resizeOrder ?? 'colsRows';
    this.queueSizes = [
      ...[QUEUE_SIZE, QUEUE_SIZE, CONTROL_QUEUE_SIZE, CONTROL_QUEUE_SIZE],
      ...ports.slice(1).flatMap(() => [QUEUE_SIZE, QUEUE_SIZE]),
    ];
    this.#state = resetState({ ...options, portCount: ports.length });
    this.ports = ports.map((port, index) => this.#makePort(port, index));
  }

  attach(link: VirtioLink): void {
    this.#link = link;
  }

  readConfig(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIG.end);
    storeLittleEndian(bytes, CONFIG.cols, 2, this.#state.cols);
    storeLittleEndian(bytes, CONFIG.rows, 2, this.#state.rows);
    storeLittleEndian(bytes, CONFIG.maxNrPorts, 4, this.#options.length);
    return loadLittleEndian(bytes, offset, size);
  }

  /** §5.3.5.1: an emergency write works before any queue does. */
  writeConfig(offset: number, _size: AccessSize, value: number): void {
    if (offset === CONFIG.emergWr) this.#options[0]!.out.write(Uint8Array.of(value & 0xff));
  }

  /** The host's terminal has another size now. */
  resize(size: { cols: number; rows: number }): void {
    this.#state.cols = size.cols;
    this.#state.rows = size.rows;
    this.#link.configChanged();
    if (!this.#multiport() || !this.#link.running) return;
    this.#sendResize();
    this.#flushControl();
  }

  notified(queueIndex: number): void {
    if (queueIndex === CONTROL_RECEIVE) this.#flushControl();
    else if (queueIndex === CONTROL_TRANSMIT) this.#takeControl();
    else if (queueIndex % 2 === 1) this.#takeOutput(queueIndex);
    else this.ports[portOf(queueIndex)]?.onRoom?.();
  }

  reset(): void {
    const { cols, rows } = this.#state;
    this.#state = resetState({ cols, rows, portCount: this.#options.length });
  }

  save(): ConsoleState {
    return structuredClone(this.#state);
  }

  restore(state: ConsoleState): void {
    this.#state = structuredClone(state);
  }

  #makePort(options: ConsolePortOptions, index: number): ConsolePort {
    const guestOpen = () => this.#state.guestOpen[index]!;
    return {
      name: options.name ?? '',
      get guestOpen() {
        return guestOpen();
      },
      receive: (bytes) => this.#receive(index, bytes),
      onRoom: undefined,
    };
  }

  #multiport(): boolean {
    return this.#link.negotiated(CONSOLE_F.multiport);
  }

  #receive(port: number, bytes: Uint8Array): number {
    const queue = this.#link.queues[receiveQueueOf(port)];
    if (!queue || (port > 0 && !(this.#multiport() && this.#state.guestOpen[port]))) return 0;
    let taken = 0;
    while (taken < bytes.length) {
      const chain = queue.next();
      if (!chain) break;
      const written = chain.writable.write(bytes.subarray(taken));
      taken += written;
      queue.push(chain, written);
    }
    queue.signal();
    return taken;
  }

  #takeOutput(queueIndex: number): void {
    const queue = this.#link.queues[queueIndex]!;
    const out = this.#options[portOf(queueIndex)]?.out;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      if (chain.readable.sizeBytes > CONSOLE_OUTPUT_BYTES_MAX) {
        queue.fail('console output of more than 1 MiB in one chain');
        return;
      }
      const bytes = new Uint8Array(chain.readable.sizeBytes);
      chain.readable.read(bytes);
      queue.push(chain, 0);
      if (bytes.length > 0) out?.write(bytes);
    }
    queue.signal();
  }

  #takeControl(): void {
    const queue = this.#link.queues[CONTROL_TRANSMIT]!;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      const id = chain.readable.readNumber(4);
      const event = chain.readable.readNumber(2);
      const value = chain.readable.readNumber(2);
      queue.push(chain, 0);
      if (id !== undefined && value !== undefined) this.#control(id, event, value);
    }
    queue.signal();
    this.#flushControl();
  }

  /** §5.3.6.2. Messages about ports that are not there, and failures, need no answer. */
  #control(id: number, event: number | undefined, value: number): void {
    if (event === CONTROL.deviceReady && value === 1) {
      for (const port of this.#options.keys()) this.#send(port, CONTROL.deviceAdd, 1);
    } else if (id >= this.#options.length) {
      return;
    } else if (event === CONTROL.portReady && value === 1) {
      this.#introduce(id);
    } else if (event === CONTROL.portOpen && id > 0) {
      this.#state.guestOpen[id] = value === 1;
      this.#options[id]!.openChanged?.(value === 1);
      if (value === 1) this.ports[id]!.onRoom?.();
    }
  }

  #introduce(port: number): void {
    const { name } = this.#options[port]!;
    if (port === 0) {
      this.#send(port, CONTROL.consolePort, 1);
      if (this.#link.negotiated(CONSOLE_F.size) && this.#state.cols > 0) this.#sendResize();
    }
    if (name !== undefined) {
      this.#send(port, CONTROL.portName, 1, new TextEncoder().encode(name));
    }
    this.#send(port, CONTROL.portOpen, 1);
  }

  #sendResize(): void {
    const { cols, rows } = this.#state;
    const size = new Uint8Array(4);
    const [first, second] = this.#resizeOrder === 'colsRows' ? [cols, rows] : [rows, cols];
    storeLittleEndian(size, 0, 2, first);
    storeLittleEndian(size, 2, 2, second);
    this.#send(0, CONTROL.resize, 0, size);
  }

  #send(port: number, event: number, value: number, tail = new Uint8Array(0)): void {
    const { pending } = this.#state;
    if (pending.length >= CONTROL_PENDING_MAX) {
      this.#link.queues[CONTROL_RECEIVE]?.fail('control messages were not read');
      return;
    }
    const message = new Uint8Array(CONTROL_BYTES + tail.length);
    storeLittleEndian(message, 0, 4, port);
    storeLittleEndian(message, 4, 2, event);
    storeLittleEndian(message, 6, 2, value);
    message.set(tail, CONTROL_BYTES);
    pending.push(message);
  }

  #flushControl(): void {
    const queue = this.#link.queues[CONTROL_RECEIVE]!;
    const { pending } = this.#state;
    while (pending.length > 0) {
      const chain = queue.next();
      if (!chain) break;
      queue.push(chain, chain.writable.write(pending.shift()!));
    }
    queue.signal();
  }
}

/**
 * §5.3.2: queues 0 and 1 are port 0's, 2 and 3 the control queues, then two for each further port.
 */
function receiveQueueOf(port: number): number {
  return port === 0 ? 0 : 2 + 2 * port;
}

function portOf(queueIndex: number): number {
  return queueIndex < 2 ? 0 : (queueIndex >>> 1) - 1;
}

function resetState(size: { cols?: number; rows?: number; portCount: number }): ConsoleState {
  const guestOpen = new Array<boolean>(size.portCount).fill(false);
  guestOpen[0] = true;
  return { cols: size.cols ?? 0, rows: size.rows ?? 0, guestOpen, pending: [] };
}

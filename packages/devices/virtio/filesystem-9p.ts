// Virtio 9P transport: carries 9P messages between the guest's file system and a session over a
// host folder. The device is that of the Linux kernel's trans_virtio (device type 9, reserved in
// virtio 1.2 §5); one queue, the request in a chain's readable part and the reply in its writable
// part.

import { assert, loadLittleEndian, storeLittleEndian } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import type { Chain } from './chain.ts';
import { DETACHED, DEVICE_TYPE, type VirtioDevice, type VirtioLink } from './device.ts';
import type { HostFolder } from './host-folder.ts';
import { MessageWriter, P9, P9_HEADER_BYTES } from './p9-messages.ts';
import { P9Session, type P9State } from './p9-session.ts';
import { runSteps } from './steps.ts';

const FEATURE_MOUNT_TAG = 0;
const QUEUE_SIZE = 128;
/** Requests in the hands of the host; the others wait in the ring. */
export const P9_REQUESTS_MAX = 32;
const TAG_BYTES_MAX = 255;

export interface Filesystem9pOptions {
  readonly folder: HostFolder;
  /** What the guest mounts: `mount -t 9p <tag> /mnt`. */
  readonly tag: string;
  /** The wall clock, in milliseconds. */
  readonly nowMs: () => number;
}

export class VirtioFilesystem9p implements VirtioDevice<P9State> {
  readonly kind = 'virtio-9p';
  readonly deviceType = DEVICE_TYPE.filesystem9p;
  readonly features = [FEATURE_MOUNT_TAG];
  readonly queueSizes = [QUEUE_SIZE];
  readonly #session: P9Session;
  readonly #tag: Uint8Array;
  #link: VirtioLink = DETACHED;
  #life = 0;
  #draining = false;
  #pumping = false;
  #idle: (() => void) | undefined;
  /** Requests of this and earlier lives in the hands of the host. */
  #inFlight = 0;
  /** Message tags in flight, each with the flushes that wait for its end. */
  readonly #tags = new Map<number, (() => void)[]>();

  constructor(options: Filesystem9pOptions) {
    this.#session = new P9Session(options.folder, options.nowMs);
    this.#tag = new TextEncoder().encode(options.tag);
    assert(this.#tag.length <= TAG_BYTES_MAX, 'a mount tag has at most 255 bytes');
  }

  attach(link: VirtioLink): void {
    this.#link = link;
  }

  /** tag_len u16, tag. */
  readConfig(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(2 + this.#tag.length);
    storeLittleEndian(bytes, 0, 2, this.#tag.length);
    bytes.set(this.#tag, 2);
    return loadLittleEndian(bytes, offset, size);
  }

  writeConfig(): void {}

  notified(): void {
    this.#pump();
  }

  reset(): void {
    this.#life += 1;
    this.#tags.clear();
    this.#session.reset();
  }

  save(): P9State {
    assert(this.#inFlight === 0, 'a file system device is drained before it is saved');
    return this.#session.save();
  }

  restore(state: P9State): void {
    this.#life += 1;
    this.#tags.clear();
    this.#session.restore(state);
  }

  drain(idle: () => void): void {
    this.#draining = true;
    if (this.#inFlight === 0) idle();
    else this.#idle = idle;
  }

  resume(): void {
    this.#draining = false;
    this.#idle = undefined;
    this.#pump();
  }

  #pump(): void {
    const queue = this.#link.queues[0];
    if (this.#pumping || !queue) return;
    this.#pumping = true;
    while (!this.#draining && this.#inFlight < P9_REQUESTS_MAX) {
      const chain = queue.next();
      if (!chain) break;
      if (chain.writable.sizeBytes < P9_HEADER_BYTES + 4) {
        queue.fail('9P request without room for a reply');
        break;
      }
      this.#take(chain);
    }
    this.#pumping = false;
    queue.signal();
  }

  #take(chain: Chain): void {
    const request = new Uint8Array(Math.min(chain.readable.sizeBytes, this.#session.msize));
    chain.readable.read(request);
    const tag = loadLittleEndian(request, 5, 2);
    if (request[4] === P9.flush) this.#flush(chain, request, tag);
    else this.#run(chain, request, tag);
  }

  #run(chain: Chain, request: Uint8Array, tag: number): void {
    const life = this.#life;
    this.#inFlight += 1;
    this.#tags.set(tag, []);
    runSteps(this.#session.handle(request), {
      wanted: () => life === this.#life,
      finished: (reply, { later }) => {
        this.#inFlight -= 1;
        if (reply) this.#finish(chain, reply, tag);
        this.#tellIdle();
        if (later) this.#pump();
      },
    });
  }

  /** A request is not undone: its flush is answered after it. Plan 9 manual, flush(5). */
  #flush(chain: Chain, request: Uint8Array, tag: number): void {
    const oldTag = loadLittleEndian(request, P9_HEADER_BYTES, 2);
    const answer = () => this.#reply(chain, new MessageWriter().message(P9.flush + 1, tag));
    const waiting = oldTag === tag ? undefined : this.#tags.get(oldTag);
    if (waiting) waiting.push(answer);
    else answer();
  }

  #finish(chain: Chain, reply: Uint8Array, tag: number): void {
    this.#reply(chain, reply);
    const flushes = this.#tags.get(tag) ?? [];
    this.#tags.delete(tag);
    for (const answer of flushes) answer();
  }

  /**
   * A reply that does not fit is cut; its length says so to the driver, whose own buffers are too
   * small.
   */
  #reply(chain: Chain, reply: Uint8Array): void {
    this.#link.queues[0]?.push(chain, chain.writable.write(reply));
  }

  #tellIdle(): void {
    if (this.#inFlight > 0 || !this.#idle) return;
    const idle = this.#idle;
    this.#idle = undefined;
    this.#link.queues[0]?.signal();
    idle();
  }
}

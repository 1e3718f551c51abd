// PS/2 mouse behind the i8042: the IBM mouse, which becomes an IntelliMouse (wheel) or an
// IntelliMouse Explorer (wheel and five buttons) when a driver knocks with the right sample rates.
// IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft, "Windows support for wheel
// mice".
// Deviation: a packet is sent when the last one was taken, not at the sample rate, which is only
// stored.

import { bit } from '@mimic/base';

const ACK = 0xfa;
const RESEND = 0xfe;
const ERROR = 0xfc;
const SELF_TEST_PASSED = 0xaa;

const COMMAND = {
  scaling1: 0xe6,
  scaling2: 0xe7,
  resolution: 0xe8,
  status: 0xe9,
  stream: 0xea,
  readData: 0xeb,
  resetWrap: 0xec,
  wrap: 0xee,
  remote: 0xf0,
  identify: 0xf2,
  sampleRate: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  defaults: 0xf6,
  resend: 0xfe,
  reset: 0xff,
};

/** Ids and the sample rates that a driver sets, one after the other, to get them. */
const STANDARD = 0;
const WHEEL = 3;
const EXPLORER = 4;
const KNOCK_WHEEL = '200,100,80';
const KNOCK_EXPLORER = '200,200,80';

const STATUS = { scaling2: bit(4), enabled: bit(5), remote: bit(6) };
/** The overflow bits 6 and 7 are never set: motion is kept instead. */
const PACKET = { one: bit(3), xSign: bit(4), ySign: bit(5) };
const MAIN_BUTTONS = 0x07;
const SIDE_BUTTONS = 0x18;

/** Bytes that wait for the guest. */
export const MOUSE_BUFFER_SIZE = 16;
/** Motion that is kept for later packets, in counts; beyond it the mouse is lifted. */
export const MOTION_MAX = 2047;
const WHEEL_MAX = 127;

/** What the host's pointer did: screen directions, so y and the wheel grow downwards. */
export interface MouseMotion {
  dx: number;
  dy: number;
  wheel: number;
  /** As MouseEvent.buttons: bit 0 left, 1 right, 2 middle, 3 back, 4 forward. */
  buttons: number;
}

export interface Ps2MouseState {
  queue: number[];
  /** The command whose argument is next; 0 is none. */
  command: number;
  mode: 'stream' | 'remote' | 'wrap';
  /** The mode to go back to from wrap mode. */
  modeBeforeWrap: 'stream' | 'remote';
  enabled: boolean;
  scaling2: boolean;
  resolution: number;
  sampleRate: number;
  /** The last three sample rates set. */
  knock: number[];
  id: number;
  buttons: number;
  sentButtons: number;
  /** Motion not sent yet; y grows upwards as on the wire. */
  dx: number;
  dy: number;
  wheel: number;
  lastSent: number;
}

export class Ps2Mouse {
  readonly #ready: () => void;
  #state: Ps2MouseState = resetState();

  /** `ready` is called when there is something to take. */
  constructor(wires: { ready(): void }) {
    this.#ready = wires.ready;
  }

  /** Anything that is not a number counts as no motion. */
  move(motion: MouseMotion): void {
    const state = this.#state;
    state.dx = clamp(state.dx + whole(motion.dx), MOTION_MAX);
    state.dy = clamp(state.dy - whole(motion.dy), MOTION_MAX);
    state.wheel = clamp(state.wheel + whole(motion.wheel), WHEEL_MAX);
    state.buttons = motion.buttons & (MAIN_BUTTONS | SIDE_BUTTONS);
    this.#stream();
    if (state.queue.length > 0) this.#ready();
  }

  /** A byte from the guest; what was being sent is dropped. */
  receive(byte: number): void {
    const state = this.#state;
    state.queue = [];
    const { command } = state;
    state.command = 0;
    const ends = byte === COMMAND.resetWrap || byte === COMMAND.reset;
    if (state.mode === 'wrap' && !ends) this.#send(byte);
    else if (command !== 0 && byte !== COMMAND.reset) this.#argument(command, byte);
    else this.#command(byte);
    this.#ready();
  }

  get pending(): boolean {
    return this.#state.queue.length > 0;
  }

  take(): number | undefined {
    const state = this.#state;
    const byte = state.queue.shift();
    if (byte !== undefined && byte !== RESEND) state.lastSent = byte;
    this.#stream();
    return byte;
  }

  reset(): void {
    this.#state = resetState();
  }

  save(): Ps2MouseState {
    return structuredClone(this.#state);
  }

  restore(state: Ps2MouseState): void {
    this.#state = structuredClone(state);
  }

  #command(byte: number): void {
    const state = this.#state;
    switch (byte) {
      case COMMAND.resolution:
      case COMMAND.sampleRate:
        state.command = byte;
        this.#send(ACK);
        break;
      case COMMAND.status:
        this.#send(ACK, this.#status(), state.resolution, state.sampleRate);
        break;
      case COMMAND.identify:
        this.#send(ACK, state.id);
        break;
      case COMMAND.readData:
        this.#send(ACK);
        this.#sendPacket('unscaled');
        break;
      case COMMAND.resend:
        this.#send(state.lastSent);
        break;
      case COMMAND.reset:
        this.#state = { ...resetState(), buttons: state.buttons };
        this.#send(ACK, SELF_TEST_PASSED, STANDARD);
        break;
      default:
        this.#send(this.#setMode(byte) ? ACK : RESEND);
    }
  }

  /** Commands that only change how the mouse works. False for an unknown one. */
  #setMode(byte: number): boolean {
    const state = this.#state;
    switch (byte) {
      case COMMAND.scaling1:
      case COMMAND.scaling2:
        state.scaling2 = byte === COMMAND.scaling2;
        return true;
      case COMMAND.stream:
      case COMMAND.remote:
        state.mode = byte === COMMAND.stream ? 'stream' : 'remote';
        this.#forgetMotion();
        return true;
      case COMMAND.wrap:
        if (state.mode !== 'wrap') state.modeBeforeWrap = state.mode;
        state.mode = 'wrap';
        return true;
      case COMMAND.resetWrap:
        if (state.mode === 'wrap') state.mode = state.modeBeforeWrap;
        return true;
      case COMMAND.enable:
      case COMMAND.disable:
        state.enabled = byte === COMMAND.enable;
        this.#forgetMotion();
        return true;
      case COMMAND.defaults: {
        const { buttons, sentButtons, id, lastSent } = state;
        this.#state = { ...resetState(), buttons, sentButtons, id, lastSent };
        return true;
      }
      default:
        return false;
    }
  }

  #argument(command: number, byte: number): void {
    const state = this.#state;
    if (command === COMMAND.resolution) {
      if (byte <= 3) state.resolution = byte;
      this.#send(byte <= 3 ? ACK : ERROR);
      return;
    }
    state.sampleRate = byte;
    state.knock = [...state.knock, byte].slice(-3);
    const knock = state.knock.join();
    if (knock === KNOCK_WHEEL && state.id === STANDARD) state.id = WHEEL;
    if (knock === KNOCK_EXPLORER && state.id === WHEEL) state.id = EXPLORER;
    this.#send(ACK);
  }

  #status(): number {
    const { mode, enabled, scaling2, buttons } = this.#state;
    // Here the left button is bit 2 and the right one bit 0.
    const shown = ((buttons & 1) << 2) | ((buttons & 4) >> 1) | ((buttons & 2) >> 1);
    return (
      shown |
      (scaling2 ? STATUS.scaling2.mask : 0) |
      (enabled ? STATUS.enabled.mask : 0) |
      (mode === 'remote' ? STATUS.remote.mask : 0)
    );
  }

  /**
   * Stream mode: motion waits until the guest has taken the last packet, a click is queued while
   * there is room.
   */
  #stream(): void {
    const state = this.#state;
    if (!state.enabled || state.mode !== 'stream' || state.command !== 0) return;
    const clicked = state.buttons !== state.sentButtons;
    const moved = state.dx !== 0 || state.dy !== 0 || (state.id !== STANDARD && state.wheel !== 0);
    const room = MOUSE_BUFFER_SIZE - state.queue.length >= 4;
    if ((clicked && room) || (moved && state.queue.length === 0))
      this.#sendPacket(state.scaling2 ? 'scaled' : 'unscaled');
  }

  /** Scaling applies to stream mode only. What does not fit nine bits waits for the next packet. */
  #sendPacket(scaling: 'scaled' | 'unscaled'): void {
    const state = this.#state;
    const limit = scaling === 'scaled' ? 127 : 255;
    const takenX = clamp(state.dx, limit);
    const takenY = clamp(state.dy, limit);
    const x = scaling === 'scaled' ? scaled(takenX) : takenX;
    const y = scaling === 'scaled' ? scaled(takenY) : takenY;
    state.dx -= takenX;
    state.dy -= takenY;
    state.sentButtons = state.buttons;
    const first =
      PACKET.one.mask |
      (state.buttons & MAIN_BUTTONS) |
      (x < 0 ? PACKET.xSign.mask : 0) |
      (y < 0 ? PACKET.ySign.mask : 0);
    const packet = [first, x & 0xff, y & 0xff];
    if (state.id !== STANDARD) packet.push(this.#takeWheel());
    this.#send(...packet);
  }

  /** The fourth byte: 8 bits of wheel, or 4 of wheel and the two side buttons. */
  #takeWheel(): number {
    const state = this.#state;
    const taken = state.id === EXPLORER ? Math.max(-8, Math.min(7, state.wheel)) : state.wheel;
    state.wheel -= taken;
    if (state.id !== EXPLORER) return taken & 0xff;
    return (taken & 0x0f) | ((state.buttons & SIDE_BUTTONS) << 1);
  }

  #forgetMotion(): void {
    this.#state.dx = 0;
    this.#state.dy = 0;
    this.#state.wheel = 0;
  }

  #send(...bytes: number[]): void {
    const { queue } = this.#state;
    if (queue.length + bytes.length <= MOUSE_BUFFER_SIZE) queue.push(...bytes);
  }
}

/** 2:1 scaling: small motions are slowed, large ones doubled. */
function scaled(value: number): number {
  const size = Math.abs(value);
  const slow = [0, 1, 1, 3, 6, 9][size] ?? 2 * size;
  return value < 0 ? -slow : slow;
}

function whole(value: number): number {
  return Number.isFinite(value) ? Math.trunc(value) : 0;
}

function clamp(value: number, limit: number): number {
  return Math.max(-limit, Math.min(limit, value));
}

function resetState(): Ps2MouseState {
  return {
    queue: [],
    command: 0,
    mode: 'stream',
    modeBeforeWrap: 'stream',
    enabled: false,
    scaling2: false,
    resolution: 2,
    sampleRate: 100,
    knock: [],
    id: STANDARD,
    buttons: 0,
    sentButtons: 0,
    dx: 0,
    dy: 0,
    wheel: 0,
    lastSent: 0,
  };
}

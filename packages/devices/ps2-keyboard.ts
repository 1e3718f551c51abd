// PS/2 keyboard: an IBM enhanced keyboard behind the i8042 (IBM PS/2 Hardware Interface Technical
// Reference, "Keyboards (101- and 102-key)"). Codes are in scan-codes.ts. Repeats held keys by
// itself.
// Deviation: a key that finds the buffer full is refused, where the original sends an overrun code;
// cursor keys send no extra shift codes with Num Lock, which every driver skips.

import { bits, type Clock, get, type Timer } from '@mimic/base';
import { isKey, type ScanSet, scanCodes, set3Code } from './scan-codes.ts';

const ACK = 0xfa;
const RESEND = 0xfe;
const ECHO = 0xee;
const SELF_TEST_PASSED = 0xaa;
const ID = [0xab, 0x83] as const;

const COMMAND = {
  setLeds: 0xed,
  echo: 0xee,
  scanSet: 0xf0,
  identify: 0xf2,
  typematic: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  defaults: 0xf6,
  /** Four commands: all keys typematic, make and break, make only, everything. Set 3. */
  allKeys: 0xf7,
  /** Three commands, codes follow: these keys typematic, make and break, make only. Set 3. */
  keys: 0xfb,
  resend: 0xfe,
  reset: 0xff,
};

/** Key types of set 3. */
const SENDS_BREAK = 1;
const REPEATS = 2;
const ALL_KEYS_TYPES = [REPEATS, SENDS_BREAK, 0, SENDS_BREAK | REPEATS] as const;
const KEYS_TYPES = [REPEATS, SENDS_BREAK, 0] as const;

/** Bytes of scan codes that wait, as in the original. */
export const KEYBOARD_BUFFER_SIZE = 16;
/** Answers to commands that wait: more is a guest that never reads. */
const REPLIES_MAX = 16;

/** Typematic byte: (delay + 1) quarters of a second, then one every (8 + A) * 2^B * 4.17 ms. */
const TYPEMATIC = { a: bits(2, 0), b: bits(4, 3), delay: bits(6, 5) };
/** Half a second, 10.9 a second. */
const TYPEMATIC_DEFAULT = 0x2b;
const TYPEMATIC_UNIT_NS = 4_170_000;

export interface Ps2KeyboardState {
  replies: number[];
  codes: number[];
  /** The command whose argument is next; 0 is none. */
  command: number;
  lastSent: number;
  leds: number;
  scanSet: ScanSet;
  scanning: boolean;
  typematic: number;
  /** Key type of set 3: for all keys, and for those that differ, by set 3 code. */
  keyType: number;
  keyTypes: Record<string, number>;
  /** Keys that are down, by KeyboardEvent.code. */
  held: string[];
  /** The key that repeats ('' is none) and when next, in clock nanoseconds. */
  repeating: string;
  repeatNs: number;
  /** A key was refused for want of room. */
  refused: boolean;
}

export interface Ps2KeyboardWires {
  clock: Clock;
  /** There is something to take. */
  ready(): void;
  /** The guest set the lamps: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock. */
  leds?(lamps: number): void;
  /** The buffer is empty again after a key was refused. */
  roomAvailable?(): void;
}

export class Ps2Keyboard {
  readonly #wires: Ps2KeyboardWires;
  readonly #timer: Timer;
  #state: Ps2KeyboardState = resetState();

  constructor(wires: Ps2KeyboardWires) {
    this.#wires = wires;
    this.#timer = wires.clock.timer(() => this.#repeat());
  }

  /**
   * A key goes down or up. False if it is unknown, or if the buffer is full and the caller has to
   * try again. A key that is down already stays so: the keyboard repeats by itself.
   */
  press(code: string, down: boolean): boolean {
    const state = this.#state;
    if (!isKey(code)) return false;
    if (state.held.includes(code) === down) return true;
    if (!this.#queue(code, down)) {
      state.refused = true;
      return false;
    }
    state.held = down ? [...state.held, code] : state.held.filter((held) => held !== code);
    if (down && this.#typeOf(code) & REPEATS) this.#startRepeating(code);
    else if (down || state.repeating === code) this.#stopRepeating();
    if (state.codes.length > 0) this.#wires.ready();
    return true;
  }

  /** A byte from the guest. */
  receive(byte: number): void {
    const state = this.#state;
    const { command } = state;
    state.command = 0;
    // A command in place of an argument is a new command.
    if (command !== 0 && byte < COMMAND.setLeds) this.#argument(command, byte);
    else this.#command(byte);
    this.#wires.ready();
  }

  get pending(): boolean {
    return this.#state.replies.length > 0 || this.#state.codes.length > 0;
  }

  /** The next byte for the guest: answers first. */
  take(): number | undefined {
    const state = this.#state;
    const reply = state.replies.shift();
    const byte = reply ?? state.codes.shift();
    if (byte !== undefined && byte !== RESEND) state.lastSent = byte;
    return byte;
  }

  /**
   * Tells who was refused that there is room. The last thing done in an access: it may call
   * `press`.
   */
  offerRoom(): void {
    if (!this.#state.refused || this.#state.codes.length > 0) return;
    this.#state.refused = false;
    this.#wires.roomAvailable?.();
  }

  reset(): void {
    this.#state = resetState();
    this.#timer.cancel();
    this.#wires.leds?.(0);
  }

  save(): Ps2KeyboardState {
    return structuredClone(this.#state);
  }

  restore(state: Ps2KeyboardState): void {
    this.#state = structuredClone(state);
    if (state.repeating === '') this.#timer.cancel();
    else this.#timer.arm(state.repeatNs);
    this.#wires.leds?.(state.leds);
  }

  #command(byte: number): void {
    const state = this.#state;
    const { allKeys, keys } = COMMAND;
    if (byte >= allKeys && byte < allKeys + ALL_KEYS_TYPES.length) {
      state.keyType = ALL_KEYS_TYPES[byte - allKeys]!;
      state.keyTypes = {};
      this.#reply(ACK);
      return;
    }
    if (byte >= keys && byte < keys + KEYS_TYPES.length) {
      state.command = byte;
      this.#stopScanning();
      this.#reply(ACK);
      return;
    }
    switch (byte) {
      case COMMAND.setLeds:
      case COMMAND.scanSet:
      case COMMAND.typematic:
        state.command = byte;
        this.#reply(ACK);
        break;
      case COMMAND.echo:
        this.#reply(ECHO);
        break;
      case COMMAND.identify:
        this.#reply(ACK, ...ID);
        break;
      case COMMAND.enable:
        this.#stopScanning();
        state.scanning = true;
        this.#reply(ACK);
        break;
      case COMMAND.disable:
      case COMMAND.defaults:
        this.#setDefaults();
        state.scanning = byte === COMMAND.defaults;
        this.#reply(ACK);
        break;
      case COMMAND.resend:
        this.#reply(state.lastSent);
        break;
      case COMMAND.reset:
        this.#setDefaults();
        state.scanSet = 2;
        state.scanning = true;
        state.leds = 0;
        this.#wires.leds?.(0);
        this.#reply(ACK, SELF_TEST_PASSED);
        break;
      default:
        this.#reply(RESEND);
    }
  }

  #argument(command: number, byte: number): void {
    const state = this.#state;
    switch (command) {
      case COMMAND.setLeds:
        state.leds = byte & 7;
        this.#wires.leds?.(state.leds);
        this.#reply(ACK);
        break;
      case COMMAND.scanSet:
        this.#selectScanSet(byte);
        break;
      case COMMAND.typematic:
        state.typematic = byte & 0x7f;
        this.#reply(ACK);
        break;
      default:
        // One key of a list, which goes on until the next command.
        state.keyTypes[byte] = KEYS_TYPES[command - COMMAND.keys]!;
        state.command = command;
        this.#reply(ACK);
    }
  }

  #selectScanSet(byte: number): void {
    if (byte === 0) {
      this.#reply(ACK, this.#state.scanSet);
    } else if (byte === 1 || byte === 2 || byte === 3) {
      this.#stopScanning();
      this.#state.scanSet = byte;
      this.#reply(ACK);
    } else {
      this.#reply(RESEND);
    }
  }

  #setDefaults(): void {
    this.#stopScanning();
    this.#state.typematic = TYPEMATIC_DEFAULT;
    this.#state.keyType = SENDS_BREAK | REPEATS;
    this.#state.keyTypes = {};
  }

  /** Drops what was typed and not sent. */
  #stopScanning(): void {
    this.#state.codes = [];
    this.#stopRepeating();
  }

  #reply(...bytes: number[]): void {
    const { replies } = this.#state;
    if (replies.length + bytes.length <= REPLIES_MAX) replies.push(...bytes);
  }

  /** The key's type; outside set 3 all keys repeat and send breaks. */
  #typeOf(code: string): number {
    const { scanSet, keyType, keyTypes } = this.#state;
    return scanSet === 3 ? (keyTypes[set3Code(code)] ?? keyType) : SENDS_BREAK | REPEATS;
  }

  /** False if there is no room. Keys are dropped while scanning is off. */
  #queue(code: string, down: boolean): boolean {
    const state = this.#state;
    if (!state.scanning || (!down && !(this.#typeOf(code) & SENDS_BREAK))) return true;
    const isHeld = (...codes: string[]): boolean => codes.some((held) => state.held.includes(held));
    const modifiers = {
      shift: isHeld('ShiftLeft', 'ShiftRight'),
      control: isHeld('ControlLeft', 'ControlRight'),
      alt: isHeld('AltLeft', 'AltRight'),
    };
    const codes = scanCodes(code, down, { set: state.scanSet, modifiers });
    if (state.codes.length + codes.length > KEYBOARD_BUFFER_SIZE) return false;
    state.codes.push(...codes);
    return true;
  }

  #startRepeating(code: string): void {
    this.#stopRepeating();
    if (!this.#state.scanning || code === 'Pause') return;
    this.#state.repeating = code;
    const delayNs = (get(this.#state.typematic, TYPEMATIC.delay) + 1) * 250_000_000;
    this.#armRepeat(delayNs);
  }

  #stopRepeating(): void {
    this.#state.repeating = '';
    this.#timer.cancel();
  }

  /** Nothing piles up: a guest that does not read gets no repetitions. */
  #repeat(): void {
    const state = this.#state;
    if (state.codes.length === 0) this.#queue(state.repeating, true);
    const { typematic } = state;
    const factor = (8 + get(typematic, TYPEMATIC.a)) << get(typematic, TYPEMATIC.b);
    this.#armRepeat(factor * TYPEMATIC_UNIT_NS);
    if (state.codes.length > 0) this.#wires.ready();
  }

  #armRepeat(delayNs: number): void {
    this.#state.repeatNs = this.#wires.clock.now() + delayNs;
    this.#timer.arm(this.#state.repeatNs);
  }
}

function resetState(): Ps2KeyboardState {
  return {
    replies: [],
    codes: [],
    command: 0,
    lastSent: 0,
    leds: 0,
    scanSet: 2,
    scanning: true,
    typematic: TYPEMATIC_DEFAULT,
    keyType: SENDS_BREAK | REPEATS,
    keyTypes: {},
    held: [],
    repeating: '',
    repeatNs: 0,
    refused: false,
  };
}

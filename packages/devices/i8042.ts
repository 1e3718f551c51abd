// i8042 keyboard controller of the PS/2 with its auxiliary port (IBM PS/2 Hardware Interface
// Technical Reference, "Keyboard/auxiliary device controller"). Offset 0 is the data port (0x60), 4
// the status and command port (0x64). Keyboard and mouse are plugged in. Bytes move at once; the
// password commands answer that there is none.

import { bit, type Clock, get, type IrqLine, set } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';
import { Ps2Keyboard, type Ps2KeyboardState } from './ps2-keyboard.ts';
import { type MouseMotion, Ps2Mouse, type Ps2MouseState } from './ps2-mouse.ts';
import { BREAK_PREFIX, translateByte } from './scan-codes.ts';

const DATA_PORT = 0;
const COMMAND_PORT = 4;

const STATUS = {
  outputFull: bit(0),
  system: bit(2),
  commandWritten: bit(3),
  notInhibited: bit(4),
  auxOutput: bit(5),
};
/** The command byte, byte 0 of the controller's memory. */
const MODE = {
  keyboardInterrupt: bit(0),
  auxInterrupt: bit(1),
  system: bit(2),
  keyboardDisabled: bit(4),
  auxDisabled: bit(5),
  translate: bit(6),
};
const OUTPUT_PORT = { notReset: bit(0), a20: bit(1), keyboardFull: bit(4), auxFull: bit(5) };

const COMMAND = {
  readMemory: 0x20,
  writeMemory: 0x60,
  testPassword: 0xa4,
  loadPassword: 0xa5,
  disableAux: 0xa7,
  enableAux: 0xa8,
  testAux: 0xa9,
  selfTest: 0xaa,
  testKeyboard: 0xab,
  disableKeyboard: 0xad,
  enableKeyboard: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKeyboardOutput: 0xd2,
  writeAuxOutput: 0xd3,
  writeAux: 0xd4,
  disableA20: 0xdd,
  enableA20: 0xdf,
  readTestInputs: 0xe0,
  pulseOutputPort: 0xf0,
};
const MEMORY_SIZE = 32;
const SELF_TEST_PASSED = 0x55;
const PORT_TEST_PASSED = 0x00;
const NO_PASSWORD = 0xf1;
/** Bit 7: the keyboard is not locked. */
const INPUT_PORT = 0x80;
/** Answers of the controller that wait: more is a guest that never reads. */
const REPLIES_MAX = 16;

export interface I8042State {
  /** The controller's memory; byte 0 is the command byte. */
  memory: number[];
  output: number;
  outputFull: boolean;
  outputAux: boolean;
  outputPort: number;
  commandWritten: boolean;
  /** The command whose data byte is next; 0 is none. */
  command: number;
  replies: { byte: number; aux: boolean }[];
  /** Translation has swallowed a break prefix. */
  released: boolean;
  keyboard: Ps2KeyboardState;
  mouse: Ps2MouseState;
}

export interface I8042Wires {
  keyboardIrq: IrqLine;
  mouseIrq: IrqLine;
  clock: Clock;
  /** The reset line of the processors was pulsed. */
  reset(): void;
  /** The A20 gate, open after reset. */
  a20(enabled: boolean): void;
  leds?(lamps: number): void;
  /** The keyboard's buffer is empty again after `pressKey` was refused. */
  keyRoomAvailable?(): void;
}

export class I8042 implements Device<I8042State> {
  readonly kind = 'i8042';
  readonly #wires: I8042Wires;
  readonly #keyboard: Ps2Keyboard;
  readonly #mouse: Ps2Mouse;
  #state: Omit<I8042State, 'keyboard' | 'mouse'> = resetState();

  constructor(wires: I8042Wires) {
    this.#wires = wires;
    const ready = (): void => this.#update();
    this.#keyboard = new Ps2Keyboard({
      clock: wires.clock,
      ready,
      leds: (lamps) => wires.leds?.(lamps),
      roomAvailable: () => wires.keyRoomAvailable?.(),
    });
    this.#mouse = new Ps2Mouse({ ready });
  }

  /**
   * A key of the host, by KeyboardEvent.code, goes down or up. False if the code is unknown or the
   * keyboard's buffer is full; in the latter case `keyRoomAvailable` says when to try again.
   */
  pressKey(code: string, down: boolean): boolean {
    return this.#keyboard.press(code, down);
  }

  moveMouse(motion: MouseMotion): void {
    this.#mouse.move(motion);
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => {
      if (at === DATA_PORT) return this.#readData();
      return at === COMMAND_PORT ? this.#status() : 0xff;
    });
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at === DATA_PORT) this.#writeData(byte);
      else if (at === COMMAND_PORT) this.#writeCommand(byte);
    });
  }

  reset(): void {
    this.#state = resetState();
    this.#keyboard.reset();
    this.#mouse.reset();
    this.#wires.a20(true);
    this.#update();
  }

  save(): I8042State {
    const parts = { keyboard: this.#keyboard.save(), mouse: this.#mouse.save() };
    return { ...structuredClone(this.#state), ...parts };
  }

  restore(state: I8042State): void {
    const { keyboard, mouse, ...own } = structuredClone(state);
    this.#state = own;
    this.#keyboard.restore(keyboard);
    this.#mouse.restore(mouse);
    this.#wires.a20(get(own.outputPort, OUTPUT_PORT.a20) === 1);
    this.#updateLines();
  }

  get #mode(): number {
    return this.#state.memory[0]!;
  }

  set #mode(value: number) {
    this.#state.memory[0] = value;
  }

  #status(): number {
    const { outputFull, outputAux, commandWritten } = this.#state;
    return (
      STATUS.notInhibited.mask |
      (outputFull ? STATUS.outputFull.mask : 0) |
      (outputFull && outputAux ? STATUS.auxOutput.mask : 0) |
      (commandWritten ? STATUS.commandWritten.mask : 0) |
      (get(this.#mode, MODE.system) ? STATUS.system.mask : 0)
    );
  }

  /** The lines fall before the next byte is put out, so that each byte is an edge of its own. */
  #readData(): number {
    const byte = this.#state.output;
    this.#state.outputFull = false;
    this.#updateLines();
    this.#update();
    return byte;
  }

  #writeData(byte: number): void {
    const state = this.#state;
    const { command } = state;
    state.commandWritten = false;
    state.command = 0;
    if (command === 0) {
      // A byte for the keyboard opens its interface.
      this.#mode = set(this.#mode, MODE.keyboardDisabled, 0);
      this.#keyboard.receive(byte);
    } else {
      this.#argument(command, byte);
    }
    this.#update();
  }

  #argument(command: number, byte: number): void {
    switch (command) {
      case COMMAND.loadPassword:
        // The password ends with a zero byte and is not kept.
        if (byte !== 0) this.#state.command = command;
        break;
      case COMMAND.writeOutputPort:
        this.#writeOutputPort(byte);
        break;
      case COMMAND.writeKeyboardOutput:
        this.#reply(byte);
        break;
      case COMMAND.writeAuxOutput:
        this.#reply(byte, 'aux');
        break;
      case COMMAND.writeAux:
        this.#mode = set(this.#mode, MODE.auxDisabled, 0);
        this.#mouse.receive(byte);
        break;
      default:
        this.#state.memory[command - COMMAND.writeMemory] = byte;
    }
  }

  #writeCommand(byte: number): void {
    const state = this.#state;
    state.commandWritten = true;
    state.command = 0;
    const { readMemory, writeMemory, pulseOutputPort } = COMMAND;
    if (byte >= readMemory && byte < readMemory + MEMORY_SIZE) {
      this.#reply(state.memory[byte - readMemory]!);
    } else if (byte >= writeMemory && byte < writeMemory + MEMORY_SIZE) {
      state.command = byte;
    } else if (byte >= pulseOutputPort) {
      // A zero bit pulses its line; bit 0 is the processors' reset.
      if (!get(byte, OUTPUT_PORT.notReset)) this.#wires.reset();
    } else {
      this.#execute(byte);
    }
    this.#update();
  }

  #execute(command: number): void {
    switch (command) {
      case COMMAND.loadPassword:
      case COMMAND.writeOutputPort:
      case COMMAND.writeKeyboardOutput:
      case COMMAND.writeAuxOutput:
      case COMMAND.writeAux:
        this.#state.command = command;
        break;
      case COMMAND.testPassword:
        this.#reply(NO_PASSWORD);
        break;
      case COMMAND.disableAux:
      case COMMAND.enableAux:
        this.#mode = set(this.#mode, MODE.auxDisabled, command === COMMAND.disableAux ? 1 : 0);
        break;
      case COMMAND.disableKeyboard:
      case COMMAND.enableKeyboard:
        this.#mode = set(
          this.#mode,
          MODE.keyboardDisabled,
          command === COMMAND.disableKeyboard ? 1 : 0,
        );
        break;
      case COMMAND.selfTest:
        this.#state.replies = [];
        this.#state.outputFull = false;
        this.#mode = set(this.#mode, MODE.system, 1);
        this.#reply(SELF_TEST_PASSED);
        break;
      case COMMAND.testAux:
      case COMMAND.testKeyboard:
        this.#reply(PORT_TEST_PASSED);
        break;
      case COMMAND.disableA20:
      case COMMAND.enableA20:
        this.#setA20(command === COMMAND.enableA20);
        break;
      case COMMAND.readInputPort:
        this.#reply(INPUT_PORT);
        break;
      case COMMAND.readOutputPort:
        this.#reply(this.#readOutputPort());
        break;
      case COMMAND.readTestInputs:
        this.#reply(0);
        break;
    }
  }

  #readOutputPort(): number {
    const { outputPort, outputFull, outputAux } = this.#state;
    const full = outputAux ? OUTPUT_PORT.auxFull.mask : OUTPUT_PORT.keyboardFull.mask;
    return outputPort | (outputFull ? full : 0);
  }

  #writeOutputPort(value: number): void {
    const lines = OUTPUT_PORT.keyboardFull.mask | OUTPUT_PORT.auxFull.mask;
    this.#state.outputPort = (value & ~lines) | OUTPUT_PORT.notReset.mask;
    this.#wires.a20(get(value, OUTPUT_PORT.a20) === 1);
    if (!get(value, OUTPUT_PORT.notReset)) this.#wires.reset();
  }

  #setA20(enabled: boolean): void {
    this.#state.outputPort = set(this.#state.outputPort, OUTPUT_PORT.a20, enabled ? 1 : 0);
    this.#wires.a20(enabled);
  }

  #reply(byte: number, source: 'controller' | 'aux' = 'controller'): void {
    const { replies } = this.#state;
    if (replies.length < REPLIES_MAX) replies.push({ byte, aux: source === 'aux' });
  }

  /**
   * Fills the output buffer if it is empty: the controller's own answers, then the keyboard, then
   * the mouse.
   */
  #update(): void {
    if (!this.#state.outputFull) {
      const reply = this.#state.replies.shift();
      if (reply !== undefined) this.#putOut(reply.byte, reply.aux);
      else if (!this.#fromKeyboard()) this.#fromMouse();
    }
    this.#updateLines();
    this.#keyboard.offerRoom();
  }

  #fromKeyboard(): boolean {
    const state = this.#state;
    if (get(this.#mode, MODE.keyboardDisabled)) return false;
    while (this.#keyboard.pending) {
      const byte = this.#keyboard.take();
      if (byte === undefined) return false;
      if (!get(this.#mode, MODE.translate)) {
        this.#putOut(byte, false);
        return true;
      }
      if (byte === BREAK_PREFIX) {
        state.released = true;
        continue;
      }
      this.#putOut(translateByte(byte, state.released), false);
      state.released = false;
      return true;
    }
    return false;
  }

  #fromMouse(): void {
    if (get(this.#mode, MODE.auxDisabled) || !this.#mouse.pending) return;
    const byte = this.#mouse.take();
    if (byte !== undefined) this.#putOut(byte, true);
  }

  #putOut(byte: number, aux: boolean): void {
    this.#state.output = byte;
    this.#state.outputAux = aux;
    this.#state.outputFull = true;
  }

  #updateLines(): void {
    const { outputFull, outputAux } = this.#state;
    const keyboard = get(this.#mode, MODE.keyboardInterrupt) === 1;
    const aux = get(this.#mode, MODE.auxInterrupt) === 1;
    this.#wires.keyboardIrq.set(outputFull && !outputAux && keyboard);
    this.#wires.mouseIrq.set(outputFull && outputAux && aux);
  }
}

/** Both ports are off until firmware or a driver opens them; A20 is open. */
function resetState(): Omit<I8042State, 'keyboard' | 'mouse'> {
  const memory = new Array<number>(MEMORY_SIZE).fill(0);
  memory[0] = MODE.keyboardDisabled.mask | MODE.auxDisabled.mask;
  return {
    memory,
    output: 0,
    outputFull: false,
    outputAux: false,
    outputPort: OUTPUT_PORT.notReset.mask | OUTPUT_PORT.a20.mask,
    commandWritten: false,
    command: 0,
    replies: [],
    released: false,
  };
}

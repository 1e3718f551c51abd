// A computer for tests of everything around the processor: its "kernel" is a script of lines, and what is typed on
// its serial port is run as further lines. Imported by tests only.
//
//   print TEXT    flood COUNT   sleep MS    echo    halt    spin
//   poweroff      reset         triple-fault        crash   answer-power-button
//
// What comes in at a console port goes out there again. `print` understands \n. After the last line it waits for lines on the serial port.

import { type GuestMemory, type Timer, toHex } from '@mimic/base';
import type { Computer, ComputerWires, Processor, ProcessorView, StopCause } from '../computer.ts';
import type { JitReport } from '../jit-report.ts';
import type { ComputerConfig } from '../options.ts';

const RAM_BYTES = 1 << 20;
const SERIAL_FIFO_BYTES = 16;

export class ScriptedComputer implements Computer {
  readonly processor: Processor;
  readonly processors: readonly ProcessorView[];
  readonly slices = undefined;
  readonly wasmMemory = undefined;
  readonly memory: GuestMemory;
  readonly #wires: ComputerWires;
  readonly #script: readonly string[];
  readonly #sleep: Timer;
  readonly #registers = new Map<string, bigint>();
  #lines: string[] = [];
  #fifo: number[] = [];
  #typed = '';
  #state: 'running' | 'sleeping' | 'halted' | 'spinning' | 'shutdown' | 'echoing' = 'running';
  #traced: readonly string[] = [];
  #answersPowerButton = false;

  constructor(config: Pick<ComputerConfig, 'kernel'>, wires: ComputerWires) {
    this.#wires = wires;
    this.#script = new TextDecoder().decode(config.kernel).split('\n').filter(Boolean);
    this.#sleep = wires.clock.timer(() => {
      this.#state = 'running';
    });
    this.memory = plainMemory(new Uint8Array(RAM_BYTES));
    this.processor = {
      registerNames: ['rax', 'rip', 'cr0', 'cr3', 'cr4', 'efer'],
      run: (instructionsMax) => this.#run(instructionsMax),
      stop: () => undefined,
      hold: () => undefined,
      nmi: () => this.#print('nmi\n'),
      instructionCount: 0,
      readRegister: (name) => this.#registers.get(name),
      writeRegister: (name, value) => {
        if (!this.#registers.has(name)) return false;
        this.#registers.set(name, value);
        return true;
      },
      translate: (gva) => (gva < BigInt(RAM_BYTES) ? { gpa: Number(gva) } : undefined),
      disassemble: (gva, count) =>
        Array.from({ length: count }, (_, index) => ({
          gva: gva + BigInt(index),
          bytes: Uint8Array.of(0x90),
          text: 'nop',
        })),
    };
    this.processors = [this.processor];
  }

  selectProcessor(): void {}

  boot(): void {
    this.#lines = [...this.#script];
    this.#fifo = [];
    this.#typed = '';
    this.#state = 'running';
    this.#answersPowerButton = false;
    for (const name of this.processor.registerNames) this.#registers.set(name, 0n);
    this.#registers.set('rip', 0x10_0000n);
  }

  pressPowerButton(): boolean {
    if (this.#answersPowerButton) this.#lines.unshift('poweroff');
    if (this.#state === 'halted') this.#state = 'running';
    return this.#answersPowerButton;
  }

  serialInput(bytes: Uint8Array): number {
    const room = this.#state === 'spinning' ? 0 : SERIAL_FIFO_BYTES - this.#fifo.length;
    const taken = bytes.subarray(0, room);
    this.#fifo.push(...taken);
    return taken.length;
  }

  consoleInput(index: number, bytes: Uint8Array): number {
    this.#wires.consoleOutputs[index]!.write(bytes);
    return bytes.length;
  }

  parts(): ReturnType<Computer['parts']> {
    return [{ name: 'pic8259', where: 'ports 0x20-0x21', state: { imr: 0xff, fifo: this.#fifo } }];
  }

  jit(): JitReport {
    return { translator: undefined, processors: [], changing: { pages: 0, changes: 0, most: [] } };
  }

  visibleState(): Readonly<Record<string, object>> {
    return { script: { state: this.#state, left: this.#lines } };
  }

  stateHash(): string {
    return toHex(new TextEncoder().encode(this.#state));
  }

  setTrace(kinds: readonly string[]): void {
    this.#traced = kinds;
  }

  #run(instructionsMax: number): StopCause {
    this.#takeTyped();
    if (this.#state === 'spinning') {
      for (let count = 0; count < instructionsMax; count++) this.#wires.clock.now();
      return 'budget';
    }
    if (this.#state === 'shutdown') return 'shutdown';
    if (this.#state === 'sleeping' || this.#state === 'halted') return 'halted';
    const line = this.#lines.shift();
    if (line === undefined) return 'halted';
    if (this.#traced.includes('instructions')) this.#wires.trace(`instruction ${line}`);
    this.#execute(line);
    return 'budget';
  }

  #takeTyped(): void {
    const bytes = Uint8Array.from(this.#fifo.splice(0));
    if (this.#state === 'echoing') {
      if (bytes.length > 0) this.#wires.serialOutput.write(bytes);
      return;
    }
    const lines = (this.#typed + new TextDecoder('latin1').decode(bytes)).split(/[\r\n]/);
    this.#typed = lines.pop() ?? '';
    this.#lines.push(...lines.filter(Boolean));
  }

  #execute(line: string): void {
    const [word = '', argument = ''] = line.split(/ (.*)/s);
    const actions: Record<string, () => void> = {
      print: () => this.#print(argument.replaceAll('\\n', '\n')),
      flood: () => this.#flood(Number(argument)),
      sleep: () => {
        this.#sleep.arm(this.#wires.clock.now() + Number(argument) * 1e6);
        this.#state = 'sleeping';
      },
      echo: () => {
        this.#state = 'echoing';
        this.#print('echoing\n');
      },
      halt: () => {
        this.#state = 'halted';
      },
      spin: () => {
        this.#state = 'spinning';
      },
      'triple-fault': () => {
        this.#state = 'shutdown';
      },
      'answer-power-button': () => {
        this.#answersPowerButton = true;
      },
      poweroff: () => this.#wires.powerOff(),
      reset: () => this.#wires.reset(),
      crash: () => {
        throw new Error('the scripted computer was told to crash');
      },
    };
    const action = actions[word];
    if (action === undefined) this.#print(`${word}: not found\n`);
    else action();
  }

  #print(text: string): void {
    this.#wires.serialOutput.write(new TextEncoder().encode(text));
  }

  /** Numbers, so that a lost or repeated byte shows. */
  #flood(lineCount: number): void {
    for (let line = 0; line < lineCount; line++) this.#print(`${String(line).padStart(7, '0')}\n`);
  }
}

function plainMemory(bytes: Uint8Array): GuestMemory {
  const view = new DataView(bytes.buffer);
  const inside = (gpa: number, count: number) => gpa >= 0 && gpa + count <= bytes.length;
  const put = (gpa: number, count: number, store: () => void) => {
    if (inside(gpa, count)) store();
    return inside(gpa, count);
  };
  return {
    sizeBytes: bytes.length,
    read: (gpa, into) => {
      if (!inside(gpa, into.length)) return false;
      into.set(bytes.subarray(gpa, gpa + into.length));
      return true;
    },
    write: (gpa, from) => {
      if (!inside(gpa, from.length)) return false;
      bytes.set(from, gpa);
      return true;
    },
    readU16: (gpa) => (inside(gpa, 2) ? view.getUint16(gpa, true) : undefined),
    readU32: (gpa) => (inside(gpa, 4) ? view.getUint32(gpa, true) : undefined),
    readU64: (gpa) => (inside(gpa, 8) ? view.getBigUint64(gpa, true) : undefined),
    writeU16: (gpa, value) => put(gpa, 2, () => view.setUint16(gpa, value, true)),
    writeU32: (gpa, value) => put(gpa, 4, () => view.setUint32(gpa, value, true)),
    writeU64: (gpa, value) => put(gpa, 8, () => view.setBigUint64(gpa, value, true)),
    view: (gpa, count) => (inside(gpa, count) ? bytes.subarray(gpa, gpa + count) : undefined),
    written: () => undefined,
  };
}

// Two cascaded 8259A interrupt controllers as the PIIX has them (Intel 231468; ELCR1 and ELCR2 as
// in the 82371AB, Intel 290562). Offsets: 0-1 master (ports 0x20-0x21), 2-3 slave (0xa0-0xa1), 4-5
// ELCR (0x4d0-0x4d1). The slave's output is wired to the master's input 2. Left out: MCS-80 mode,
// buffered mode's outside pin.

import { bit, bits, get, type IrqLine } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

const ICW1 = { icw4Needed: bit(0), single: bit(1), init: bit(4) };
const ICW4 = { autoEoi: bit(1), fullyNested: bit(4) };
const OCW2 = { level: bits(2, 0), specific: bit(6), eoi: bit(5), rotate: bit(7) };
const OCW3 = {
  readSelect: bits(1, 0),
  poll: bit(2),
  select: bit(3),
  specialMask: bit(5),
  specialMaskEnable: bit(6),
};
const READ_IRR = 2;
const READ_ISR = 3;
const VECTOR_BASE_MASK = 0xf8;
const CASCADE = 2;
const SPURIOUS_LEVEL = 7;
/** IRQ 0, 1, 2, 8 and 13 are always edge-triggered. 290562, ELCR1 and ELCR2. */
const ELCR_MASK = [0xf8, 0xde] as const;

export interface PicChipState {
  /** Level of the eight inputs. */
  lines: number;
  /** Inputs that have risen and were not acknowledged yet. */
  edges: number;
  isr: number;
  imr: number;
  elcr: number;
  /** The level that has the lowest priority; the next one has the highest. */
  lowest: number;
  vectorBase: number;
  /** The next initialisation command word expected at the odd port: 2, 3, 4; 0 is none. */
  icw: number;
  icw4Needed: boolean;
  single: boolean;
  initialised: boolean;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  fullyNested: boolean;
  specialMask: boolean;
  readIsr: boolean;
  poll: boolean;
}

export interface PicState {
  master: PicChipState;
  slave: PicChipState;
}

export class Pic8259 implements Device<PicState> {
  readonly kind = 'pic8259';
  readonly #intr: IrqLine;
  #state: PicState = resetState();

  /** `intr` goes to LINT0 of the boot processor (or its INTR pin), which calls `acknowledge`. */
  constructor(wires: { intr: IrqLine }) {
    this.#intr = wires.intr;
  }

  /** The input of ISA interrupt 0 to 15 (2 is the cascade and leads nowhere). */
  line(irq: number): IrqLine {
    return { set: (high) => this.#setLine(irq, high) };
  }

  /** INTA: the vector of the most urgent request, now in service; a spurious one if it is gone. */
  acknowledge(): number {
    const { master, slave } = this.#state;
    const level = acknowledgeChip(master);
    if (level === undefined) return this.#answer(master.vectorBase + SPURIOUS_LEVEL);
    if (level !== CASCADE || master.single) return this.#answer(master.vectorBase + level);
    // The slave answers the second pulse; a request cannot vanish between the two here, so 15 is
    // never spurious. The slave's output falls during INTA, so that its next request is a new edge
    // for the master.
    const slaveLevel = acknowledgeChip(slave) ?? SPURIOUS_LEVEL;
    setInput(master, CASCADE, false);
    return this.#answer(slave.vectorBase + slaveLevel);
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => this.#readByte(at));
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => this.#writeByte(at, byte));
  }

  /** Inputs count as low afterwards: the board resets controllers before what drives them. */
  reset(): void {
    this.#state = resetState();
    this.#update();
  }

  save(): PicState {
    return structuredClone(this.#state);
  }

  restore(state: PicState): void {
    this.#state = structuredClone(state);
    this.#update();
  }

  #setLine(irq: number, high: boolean): void {
    if (irq === CASCADE) return;
    setInput(irq < 8 ? this.#state.master : this.#state.slave, irq & 7, high);
    this.#update();
  }

  #answer(vector: number): number {
    this.#update();
    return vector;
  }

  #chip(offset: number): PicChipState {
    return offset & 2 ? this.#state.slave : this.#state.master;
  }

  #readByte(offset: number): number {
    if (offset === 4) return this.#state.master.elcr;
    if (offset === 5) return this.#state.slave.elcr;
    if (offset > 5) return 0xff;
    const chip = this.#chip(offset);
    if (chip.poll) {
      const level = acknowledgeChip(chip);
      chip.poll = false;
      this.#update();
      return level === undefined ? 0 : 0x80 | level;
    }
    if (offset & 1) return chip.imr;
    return chip.readIsr ? chip.isr : requests(chip);
  }

  #writeByte(offset: number, value: number): void {
    if (offset === 4) this.#state.master.elcr = value & ELCR_MASK[0];
    else if (offset === 5) this.#state.slave.elcr = value & ELCR_MASK[1];
    else if (offset > 5) return;
    else if (offset & 1) writeOdd(this.#chip(offset), value);
    else if (get(value, ICW1.init)) writeIcw1(this.#chip(offset), value);
    else if (get(value, OCW3.select)) writeOcw3(this.#chip(offset), value);
    else writeOcw2(this.#chip(offset), value);
    this.#update();
  }

  /** Derives the cascade and the output from the state. */
  #update(): void {
    const { master, slave } = this.#state;
    setInput(master, CASCADE, pending(slave) !== undefined);
    this.#intr.set(pending(master) !== undefined);
  }
}

/**
 * The interrupt request register. An edge is a request only while its line stays high: one that
 * falls before INTA is gone, which is where spurious interrupts come from. 231468 "Edge and level
 * triggered modes".
 */
function requests(chip: PicChipState): number {
  return chip.lines & (chip.elcr | chip.edges);
}

function setInput(chip: PicChipState, level: number, high: boolean): void {
  const mask = 1 << level;
  if (!high) {
    chip.lines &= ~mask;
    chip.edges &= ~mask;
  } else if ((chip.lines & mask) === 0) {
    chip.lines |= mask;
    chip.edges |= mask;
  }
}

/**
 * The level to interrupt with: the most urgent request that is not masked and not blocked by one in
 * service.
 */
function pending(chip: PicChipState): number | undefined {
  if (!chip.initialised) return undefined;
  const waiting = requests(chip) & ~chip.imr;
  if (waiting === 0) return undefined;
  // Special mask mode: a level in service that is masked blocks nobody.
  const inService = chip.specialMask ? chip.isr & ~chip.imr : chip.isr;
  for (let step = 1; step <= 8; step += 1) {
    const level = (chip.lowest + step) & 7;
    const mask = 1 << level;
    // Special fully nested mode: further requests of the slave pass its own level in service.
    const passes = chip.fullyNested && level === CASCADE;
    if (inService & mask && !(passes && waiting & mask)) return undefined;
    if (waiting & mask) return level;
  }
  return undefined;
}

function acknowledgeChip(chip: PicChipState): number | undefined {
  const level = pending(chip);
  if (level === undefined) return undefined;
  chip.edges &= ~(1 << level);
  if (!chip.autoEoi) chip.isr |= 1 << level;
  else if (chip.rotateOnAutoEoi) chip.lowest = level;
  return level;
}

/** ICW1 clears the mask, the edges seen so far and the modes, and starts over. 231468 "ICW1". */
function writeIcw1(chip: PicChipState, value: number): void {
  Object.assign(chip, {
    ...resetChip(),
    lines: chip.lines,
    elcr: chip.elcr,
    icw: 2,
    icw4Needed: get(value, ICW1.icw4Needed) === 1,
    single: get(value, ICW1.single) === 1,
  });
}

function writeOdd(chip: PicChipState, value: number): void {
  if (chip.icw === 2) {
    chip.vectorBase = value & VECTOR_BASE_MASK;
    chip.icw = chip.single ? afterIcw3(chip) : 3;
  } else if (chip.icw === 3) {
    // The cascade is wired on the board; what the guest says about it is not needed.
    chip.icw = afterIcw3(chip);
  } else if (chip.icw === 4) {
    chip.autoEoi = get(value, ICW4.autoEoi) === 1;
    chip.fullyNested = get(value, ICW4.fullyNested) === 1;
    chip.icw = 0;
  } else {
    chip.imr = value;
  }
  if (chip.icw === 0) chip.initialised = true;
}

function afterIcw3(chip: PicChipState): number {
  return chip.icw4Needed ? 4 : 0;
}

function writeOcw2(chip: PicChipState, value: number): void {
  const rotate = get(value, OCW2.rotate) === 1;
  const specific = get(value, OCW2.specific) === 1;
  const named = get(value, OCW2.level);
  if (get(value, OCW2.eoi)) {
    const level = specific ? named : mostUrgentInService(chip);
    if (level === undefined) return;
    chip.isr &= ~(1 << level);
    if (rotate) chip.lowest = level;
  } else if (specific) {
    if (rotate) chip.lowest = named;
  } else {
    chip.rotateOnAutoEoi = rotate;
  }
}

/** What a non-specific EOI ends; in special mask mode masked levels are passed over. */
function mostUrgentInService(chip: PicChipState): number | undefined {
  const inService = chip.specialMask ? chip.isr & ~chip.imr : chip.isr;
  for (let step = 1; step <= 8; step += 1) {
    const level = (chip.lowest + step) & 7;
    if (inService & (1 << level)) return level;
  }
  return undefined;
}

function writeOcw3(chip: PicChipState, value: number): void {
  if (get(value, OCW3.poll)) chip.poll = true;
  const select = get(value, OCW3.readSelect);
  if (select === READ_IRR || select === READ_ISR) chip.readIsr = select === READ_ISR;
  if (get(value, OCW3.specialMaskEnable)) chip.specialMask = get(value, OCW3.specialMask) === 1;
}

function resetChip(): PicChipState {
  return {
    lines: 0,
    edges: 0,
    isr: 0,
    imr: 0,
    elcr: 0,
    lowest: 7,
    vectorBase: 0,
    icw: 0,
    icw4Needed: false,
    single: false,
    initialised: false,
    autoEoi: false,
    rotateOnAutoEoi: false,
    fullyNested: false,
    specialMask: false,
    readIsr: false,
    poll: false,
  };
}

function resetState(): PicState {
  return { master: resetChip(), slave: resetChip() };
}

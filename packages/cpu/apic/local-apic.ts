// The local APIC of one processor, with its xAPIC (memory) and x2APIC (MSR) faces on the same registers.
// SDM vol 3A ch. 11. Arbitration and focus processors belong to the APIC bus of old and are left out; messages
// arrive at once, so delivery status always reads idle.

import { get, type InterruptMessage, set } from '@mimic/base';
import { apicBase, modeAfterWrite } from './apic-base.ts';
import { decodeCommand } from './command.ts';
import { isDestination, logicalDestination } from './destination.ts';
import {
  DELIVERY,
  ESR,
  ICR_HIGH_WRITABLE,
  ICR_LOW_WRITABLE,
  LVT,
  LVT_AT,
  LVT_MASKED,
  LVT_WRITABLE,
  type LvtName,
  REGISTER,
  SHORTHAND,
  SVR,
  SVR_WRITABLE,
  VECTOR_MIN,
  VERSION,
  X2APIC_MSR_FIRST,
  x2apicWritable,
} from './registers.ts';
import { type ApicMode, type LocalApicState, resetApicState } from './state.ts';
import { ApicTimer } from './timer.ts';
import { has, highest, put } from './vector-set.ts';
import type { LocalApicOptions, LocalApicWires } from './wires.ts';

export type { ApicMode, LocalApicState } from './state.ts';

export type { IpiSink, LocalApicOptions, LocalApicWires } from './wires.ts';

export class LocalApic {
  readonly #wires: LocalApicWires;
  readonly #options: LocalApicOptions;
  readonly #timer: ApicTimer;
  #state: LocalApicState;
  #wasPending = false;

  constructor(wires: LocalApicWires, options: LocalApicOptions) {
    this.#wires = wires;
    this.#options = options;
    this.#state = resetApicState(options.id);
    this.#timer = new ApicTimer({
      clock: wires.clock,
      tsc: wires.tsc,
      hz: options.timerHz,
      state: this.#state.timer,
      fire: () => this.#localInterrupt('timer'),
    });
  }

  // --- power-up, snapshot ---

  reset(): void {
    this.restore(resetApicState(this.#options.id));
  }
  /** INIT: as after reset, but IA32_APIC_BASE (with it the mode) and the pins stay. §11.4.7.3. */
  init(): void {
    const { mode, baseAddress, id, lint0, lint1 } = this.#state;
    this.restore({ ...resetApicState(id), mode, baseAddress, lint0, lint1 });
  }
  save(): LocalApicState {
    return structuredClone(this.#state);
  }
  restore(state: LocalApicState): void {
    this.#state = structuredClone(state);
    this.#timer.attach(this.#state.timer, get(this.#state.lvt.timer, LVT.timerMode));
    // Told in any case: the processor's own view may have been restored to anything.
    this.#wasPending = !this.isInterruptPending;
    this.#update();
  }
  /** What firmware leaves behind: enabled, LINT0 to the PIC, LINT1 as NMI. MP specification 1.4 §3.6.2.2. */
  setVirtualWireMode(): void {
    this.#state.spuriousVector = 0x1ff;
    this.#state.lvt.lint0 = DELIVERY.extInt << 8;
    this.#state.lvt.lint1 = DELIVERY.nmi << 8;
    this.#update();
  }

  // --- the processor's side ---

  /** INTR to the processor: a vector above its priority, or an external interrupt. */
  get isInterruptPending(): boolean {
    return this.#deliverable() >= 0 || this.#isExternalPending();
  }
  /** Takes the interrupt to deliver: its vector, or -1 when there is none after all. */
  acknowledge(): number {
    const vector = this.#deliverable();
    if (vector >= 0) {
      put(this.#state.interruptRequest, vector, false);
      put(this.#state.inService, vector, true);
      this.#update();
      return vector;
    }
    if (!this.#isExternalPending()) return -1;
    this.#state.extIntRequested = false;
    const external = this.#wires.acknowledgeExternal();
    this.#update();
    return external;
  }
  /** CR8: the upper half of TPR. §11.8.6. */
  get cr8(): number {
    return this.#state.taskPriority >> 4;
  }
  set cr8(value: number) {
    this.#state.taskPriority = (value & 15) << 4;
    this.#update();
  }

  /** INTR from the PIC. */
  setLint0(high: boolean): void {
    if (this.#state.lint0 === high) return;
    this.#state.lint0 = high;
    if (high) this.#localInterrupt('lint0');
    this.#update();
  }
  /** NMI from the board. With the APIC disabled the pin is the processor's NMI. */
  setLint1(high: boolean): void {
    if (this.#state.lint1 === high) return;
    this.#state.lint1 = high;
    if (high && this.#state.mode === 'disabled') this.#wires.nmi();
    else if (high) this.#localInterrupt('lint1');
  }

  get mode(): ApicMode {
    return this.#state.mode;
  }
  /** Where the xAPIC page lies, or undefined when memory is what is there. */
  get mappedAt(): number | undefined {
    return this.#state.mode === 'xapic' ? this.#state.baseAddress : undefined;
  }
  get id(): number {
    return this.#state.id;
  }
  /** What lowest-priority delivery compares: lower is more willing. */
  get priority(): number {
    return this.#processorPriority();
  }

  /** IA32_APIC_BASE. */
  readBase(): bigint {
    return apicBase(this.#state, this.#options.isBootstrap);
  }
  /** False: #GP(0), for reserved bits and the transitions that §11.12.5 (figure 11-27) does not have. */
  writeBase(value: bigint): boolean {
    const from = this.#state.mode;
    const to = modeAfterWrite(from, value, this.#options.physicalAddressBits);
    if (to === undefined) return false;
    this.#state.baseAddress = Number(value & ~0xfffn);
    if (from !== to) this.#changeMode(to);
    return true;
  }
  #changeMode(to: ApicMode): void {
    if (to === 'disabled') this.init();
    this.#state.mode = to;
    // The x2APIC id is the initial one, whatever was written to the xAPIC's; the ICR starts empty.
    if (to === 'x2apic') {
      this.#state.id = this.#options.id;
      this.#state.icrHigh = 0;
    }
    this.#update();
  }

  /** IA32_TSC_DEADLINE. */
  get tscDeadline(): bigint {
    return this.#timer.tscDeadline;
  }
  set tscDeadline(value: bigint) {
    this.#timer.tscDeadline = value;
  }
  /** The guest set its time-stamp counter. */
  tscChanged(): void {
    this.#timer.tscChanged();
  }

  // --- messages from the system ---

  /** Whether a message is for this APIC. §11.6.2. */
  matches(message: InterruptMessage): boolean {
    return isDestination(this.#state, message);
  }
  /** Whether it takes interrupts by vector: a candidate for lowest-priority delivery. */
  get takesVectors(): boolean {
    return this.#isSoftwareEnabled();
  }

  /** Takes a message that `matches`. A software-disabled APIC takes no interrupts by vector. §11.4.7.2. */
  accept(message: InterruptMessage): void {
    if (this.#state.mode === 'disabled') return;
    switch (message.deliveryMode) {
      case DELIVERY.fixed:
      case DELIVERY.lowestPriority:
        this.#request(message.vector, message.level);
        return;
      case DELIVERY.smi:
        this.#wires.smi();
        return;
      case DELIVERY.nmi:
        this.#wires.nmi();
        return;
      case DELIVERY.init:
        this.#wires.init();
        return;
      case DELIVERY.startUp:
        this.#wires.startUp(message.vector);
        return;
      case DELIVERY.extInt:
        this.#state.extIntRequested = true;
        this.#update();
    }
  }

  // --- the xAPIC face ---

  /** Registers are 32 bits at multiples of 16; what lies between them reads as zero. */
  read(offset: number, size: 1 | 2 | 4): number {
    const within = offset & 15;
    if (within + size > 4) return 0;
    const value = this.#readRegister(offset & 0xff0);
    if (value === undefined) this.#error(ESR.illegalRegister);
    const shifted = (value ?? 0) >>> (within * 8);
    return size === 4 ? shifted : shifted & (2 ** (size * 8) - 1);
  }
  /** Only aligned writes of 32 bits are defined (§11.4.1); others are dropped. */
  write(offset: number, size: 1 | 2 | 4, value: number): void {
    if (size !== 4 || offset & 15) return;
    const register = offset & 0xff0;
    if (register === REGISTER.icrHigh) this.#state.icrHigh = (value & ICR_HIGH_WRITABLE) >>> 0;
    else if (register === REGISTER.icrLow) {
      this.#state.icrLow = value & ICR_LOW_WRITABLE;
      this.#sendIpi(this.#state.icrHigh >>> 24);
    } else if (register === REGISTER.id) {
      this.#state.id = value >>> 24;
      this.#update();
    } else if (register === REGISTER.logicalDestination) {
      this.#state.logicalDestination = (value & 0xff00_0000) >>> 0;
      this.#update();
    } else if (register === REGISTER.destinationFormat) {
      this.#state.destinationFormat = (value | 0x0fff_ffff) >>> 0;
      this.#update();
    } else if (!this.#writeRegister(register, value >>> 0)) this.#error(ESR.illegalRegister);
  }

  // --- the x2APIC face, §11.12.1.2 ---

  /** Undefined: #GP(0). */
  readMsr(msr: number): bigint | undefined {
    const register = (msr - X2APIC_MSR_FIRST) << 4;
    if (this.#state.mode !== 'x2apic' || register > 0xff0) return undefined;
    switch (register) {
      case REGISTER.icrLow:
        return (BigInt(this.#state.icrHigh) << 32n) | BigInt(this.#state.icrLow >>> 0);
      case REGISTER.icrHigh:
      case REGISTER.destinationFormat:
      case REGISTER.endOfInterrupt:
      case REGISTER.arbitrationPriority:
      case REGISTER.remoteRead:
      case REGISTER.selfIpi:
        return undefined;
      default: {
        const value = this.#readRegister(register);
        return value === undefined ? undefined : BigInt(value >>> 0);
      }
    }
  }
  /** False: #GP(0), for a register that cannot be written or a reserved bit set. */
  writeMsr(msr: number, value: bigint): boolean {
    const register = (msr - X2APIC_MSR_FIRST) << 4;
    if (this.#state.mode !== 'x2apic' || register > 0xff0) return false;
    if (register === REGISTER.icrLow) {
      const low = Number(value & 0xffff_ffffn);
      if (low & ~ICR_LOW_WRITABLE) return false;
      this.#state.icrLow = low;
      this.#state.icrHigh = Number(value >> 32n);
      this.#sendIpi(this.#state.icrHigh);
      return true;
    }
    const low = Number(value & 0xffff_ffffn);
    if (value >> 32n || low & ~x2apicWritable(register)) return false;
    if (register === REGISTER.selfIpi) {
      this.#sendSelf(low & 0xff);
      return true;
    }
    return this.#writeRegister(register, low);
  }

  // --- registers of both faces ---

  #readRegister(register: number): number | undefined {
    const s = this.#state;
    const lvt = LVT_AT.get(register);
    if (lvt) return s.lvt[lvt];
    const word = (register >> 4) & 7;
    if (register >= REGISTER.inService && register < REGISTER.errorStatus) {
      if (register < REGISTER.triggerMode) return s.inService[word];
      return register < REGISTER.interruptRequest ? s.triggerMode[word] : s.interruptRequest[word];
    }
    switch (register) {
      case REGISTER.id:
        return s.mode === 'x2apic' ? s.id : (s.id << 24) >>> 0;
      case REGISTER.version:
        return VERSION;
      case REGISTER.taskPriority:
        return s.taskPriority;
      case REGISTER.processorPriority:
      case REGISTER.arbitrationPriority:
        return this.#processorPriority();
      case REGISTER.endOfInterrupt:
      case REGISTER.remoteRead:
        return 0;
      case REGISTER.logicalDestination:
        return logicalDestination(s);
      case REGISTER.destinationFormat:
        return s.destinationFormat;
      case REGISTER.spuriousVector:
        return s.spuriousVector;
      case REGISTER.errorStatus:
        return s.errorStatus;
      case REGISTER.icrLow:
        return s.icrLow;
      case REGISTER.icrHigh:
        return s.icrHigh;
      case REGISTER.timerInitialCount:
        return this.#timer.initialCount;
      case REGISTER.timerCurrentCount:
        return this.#timer.currentCount;
      case REGISTER.timerDivide:
        return this.#timer.divide;
      default:
        return undefined;
    }
  }

  /** False when there is no such register to write. */
  #writeRegister(register: number, value: number): boolean {
    const s = this.#state;
    const lvt = LVT_AT.get(register);
    if (lvt) {
      this.#writeLvt(lvt, value);
      return true;
    }
    switch (register) {
      case REGISTER.taskPriority:
        s.taskPriority = value & 0xff;
        this.#update();
        return true;
      case REGISTER.endOfInterrupt:
        this.#endOfInterrupt();
        return true;
      case REGISTER.spuriousVector:
        s.spuriousVector = value & SVR_WRITABLE;
        if (!this.#isSoftwareEnabled()) this.#maskAll();
        this.#update();
        return true;
      case REGISTER.errorStatus:
        // A write makes visible what was met since the last one. §11.5.3.
        s.errorStatus = s.pendingErrors;
        s.pendingErrors = 0;
        return true;
      case REGISTER.timerInitialCount:
        this.#timer.initialCount = value;
        return true;
      case REGISTER.timerDivide:
        this.#timer.divide = value;
        return true;
      default:
        return false;
    }
  }

  #writeLvt(name: LvtName, value: number): void {
    const s = this.#state;
    const kept = s.lvt[name] & LVT.remoteIrr.mask;
    let entry = (value & LVT_WRITABLE[name]) | kept;
    if (!this.#isSoftwareEnabled()) entry |= LVT_MASKED;
    s.lvt[name] = entry;
    if (name === 'timer') this.#timer.setMode(get(entry, LVT.timerMode));
    // A level that stood before the pin was unmasked counts from now on.
    if (name === 'lint0' && s.lint0 && get(entry, LVT.level)) this.#localInterrupt('lint0');
    if (name === 'lint1' && s.lint1 && get(entry, LVT.level)) this.#localInterrupt('lint1');
    this.#update();
  }
  #maskAll(): void {
    const { lvt } = this.#state;
    for (const name of LVT_AT.values()) lvt[name] |= LVT_MASKED;
  }

  // --- priorities, §11.8.3 ---

  #isSoftwareEnabled(): boolean {
    return this.#state.mode !== 'disabled' && get(this.#state.spuriousVector, SVR.enabled) === 1;
  }
  #processorPriority(): number {
    const { taskPriority, inService } = this.#state;
    const service = Math.max(highest(inService), 0);
    return taskPriority >> 4 >= service >> 4 ? taskPriority : service & 0xf0;
  }
  /** The vector that may interrupt the processor now, or -1. */
  #deliverable(): number {
    if (!this.#isSoftwareEnabled()) return -1;
    const vector = highest(this.#state.interruptRequest);
    return vector >> 4 > this.#processorPriority() >> 4 ? vector : -1;
  }
  /** The PIC's INTR as LINT0 lets it through; with the APIC disabled LINT0 is the processor's INTR. */
  #isExternalPending(): boolean {
    const s = this.#state;
    if (s.extIntRequested) return true;
    if (!s.lint0) return false;
    if (s.mode === 'disabled') return true;
    const isExternal = get(s.lvt.lint0, LVT.deliveryMode) === DELIVERY.extInt;
    return isExternal && !get(s.lvt.lint0, LVT.masked);
  }
  #update(): void {
    if (this.#wires.faceChanged) {
      const { mode, id, logicalDestination, destinationFormat } = this.#state;
      const { takesVectors, priority } = this;
      const addressed = { mode, id, logicalDestination, destinationFormat };
      this.#wires.faceChanged({ ...addressed, takesVectors, priority });
    }
    const isPending = this.isInterruptPending;
    if (isPending === this.#wasPending) return;
    this.#wasPending = isPending;
    this.#wires.pendingChanged(isPending);
  }

  // --- accepting ---

  #request(vector: number, isLevel: boolean): void {
    if (!this.#isSoftwareEnabled()) return;
    if (vector < VECTOR_MIN) {
      this.#error(ESR.receivedIllegalVector);
      return;
    }
    put(this.#state.interruptRequest, vector, true);
    put(this.#state.triggerMode, vector, isLevel);
    this.#update();
  }

  #endOfInterrupt(): void {
    const s = this.#state;
    const vector = highest(s.inService);
    if (vector < 0) return;
    put(s.inService, vector, false);
    if (has(s.triggerMode, vector)) {
      this.#endOfLevel('lint0', s.lint0, vector);
      this.#endOfLevel('lint1', s.lint1, vector);
      this.#wires.endOfInterrupt(vector);
    }
    this.#update();
  }
  /** A level-triggered pin that is still high asks again. */
  #endOfLevel(name: 'lint0' | 'lint1', isHigh: boolean, vector: number): void {
    const entry = this.#state.lvt[name];
    if (!get(entry, LVT.remoteIrr) || get(entry, LVT.vector) !== vector) return;
    this.#state.lvt[name] = set(entry, LVT.remoteIrr, 0);
    if (isHigh) this.#localInterrupt(name);
  }

  /** An interrupt from a source of the processor's own, as its LVT entry says. */
  #localInterrupt(name: LvtName): void {
    const entry = this.#state.lvt[name];
    if (this.#state.mode === 'disabled' || get(entry, LVT.masked)) return;
    const vector = get(entry, LVT.vector);
    const hasMode = (LVT_WRITABLE[name] & LVT.deliveryMode.mask) !== 0;
    const deliveryMode = hasMode ? get(entry, LVT.deliveryMode) : DELIVERY.fixed;
    if (deliveryMode === DELIVERY.nmi) this.#wires.nmi();
    else if (deliveryMode === DELIVERY.smi) this.#wires.smi();
    else if (deliveryMode === DELIVERY.init) this.#wires.init();
    else if (deliveryMode === DELIVERY.fixed) {
      const isLevel = name.startsWith('lint') && get(entry, LVT.level) === 1;
      if (isLevel && get(entry, LVT.remoteIrr)) return;
      if (isLevel) this.#state.lvt[name] = set(entry, LVT.remoteIrr, 1);
      this.#request(vector, isLevel);
    }
  }

  #error(bit: number): void {
    const s = this.#state;
    s.pendingErrors |= bit;
    // An illegal vector in the error entry itself is not reported again.
    if (get(s.lvt.error, LVT.vector) >= VECTOR_MIN) this.#localInterrupt('error');
  }

  // --- sending, §11.6.1 ---

  #sendIpi(destination: number): void {
    const command = decodeCommand(this.#state.icrLow, destination);
    if (command === undefined) return;
    if (command === 'illegalVector') {
      this.#error(ESR.sendIllegalVector);
      return;
    }
    const { shorthand, message } = command;
    if (shorthand === SHORTHAND.self) this.accept(message);
    else if (shorthand === SHORTHAND.others) this.#wires.ipis.sendToOthers(message);
    else this.#wires.ipis.send(message);
  }
  #sendSelf(vector: number): void {
    if (vector < VECTOR_MIN) this.#error(ESR.sendIllegalVector);
    else this.#request(vector, false);
  }
}

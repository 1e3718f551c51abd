// What lies between local APICs, I/O APICs and message-signalled interrupts: finds the processors that a message is
// for. SDM vol 3A §11.6.2.

import type { InterruptMessage, InterruptSink } from '@mimic/base';
import type { IpiSink } from './local-apic.ts';
import { DELIVERY } from './registers.ts';

/** A local APIC as others see it: the part itself, or its posted-interrupt area where it lives in another worker. */
export interface InterruptTarget {
  matches(message: InterruptMessage): boolean;
  /** A candidate for lowest-priority delivery. */
  readonly takesVectors: boolean;
  /** What lowest-priority delivery compares: lower is more willing. */
  readonly priority: number;
  accept(message: InterruptMessage): void;
}

export class InterruptBus implements InterruptSink {
  readonly #apics: InterruptTarget[] = [];

  /** In the order of the processors' indices; `index` replaces the target there. */
  attach(apic: InterruptTarget, index: number = this.#apics.length): void {
    this.#apics[index] = apic;
  }

  send(message: InterruptMessage): void {
    this.#deliver(message, undefined);
  }

  /** The face that the processor with this index sends its own interrupts through. */
  sinkFor(index: number): IpiSink {
    return {
      send: (message) => this.#deliver(message, undefined),
      sendToOthers: (message) => this.#deliver(message, this.#apics[index]),
    };
  }

  #deliver(message: InterruptMessage, except: InterruptTarget | undefined): void {
    const targets = this.#apics.filter((apic) => apic !== except && apic.matches(message));
    if (message.deliveryMode !== DELIVERY.lowestPriority) {
      for (const apic of targets) apic.accept(message);
      return;
    }
    // Of equals the first: processors are the same to everyone, and one of them must be chosen.
    const [first, ...rest] = targets.filter((apic) => apic.takesVectors);
    let chosen = first;
    for (const apic of rest) if (chosen && apic.priority < chosen.priority) chosen = apic;
    chosen?.accept(message);
  }
}

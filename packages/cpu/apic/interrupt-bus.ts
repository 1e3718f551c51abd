// What lies between local APICs, I/O APICs and message-signalled interrupts: finds the processors that a message is
// for. SDM vol 3A §11.6.2.

import type { InterruptMessage, InterruptSink } from '@mimic/base';
import type { IpiSink, LocalApic } from './local-apic.ts';
import { DELIVERY } from './registers.ts';

export class InterruptBus implements InterruptSink {
  readonly #apics: LocalApic[] = [];

  attach(apic: LocalApic): void {
    this.#apics.push(apic);
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

  #deliver(message: InterruptMessage, except: LocalApic | undefined): void {
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

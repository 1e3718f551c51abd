// What a pass is: an equivalent list of statements for the straight code of one block. Nodes and statements are never
// changed in place; what a pass leaves alone is the same object behind it, so a pass that finds nothing copies nothing.

import type { Local, Node, Statement } from '../../lift/ir.ts';

export interface PassContext {
  /** Locals of the region that live longer than the block: registers, flags. Several blocks set them. */
  readonly mutable: ReadonlySet<Local>;
  /** Those of `mutable` that are read behind the block; without it, all. */
  readonly liveAtEnd?: ReadonlySet<Local>;
  /** Those of `mutable` that are read behind an exit; without it, all. */
  readonly liveAtExit?: (exit: Statement & { kind: 'exit' }) => ReadonlySet<Local>;
  /** `variablesOf` the statements, where someone has looked already. */
  readonly variables?: ReadonlySet<Local>;
}

export type Pass = (statements: readonly Statement[], context: PassContext) => readonly Statement[];

/** Locals that may change while the block runs: the region's, and those that several statements set. */
export function variablesOf(
  statements: readonly Statement[],
  context: PassContext,
): ReadonlySet<Local> {
  if (context.variables) return context.variables;
  const variables = new Set(context.mutable);
  const once = new Set<Local>();
  forEachSet(statements, (local) => {
    if (variables.has(local)) return;
    if (once.has(local)) variables.add(local);
    else once.add(local);
  });
  return variables;
}

/** Reports each `set`, in order, nested ones too. */
export function forEachSet(statements: readonly Statement[], found: (local: Local) => void): void {
  for (let n = 0; n < statements.length; n++) {
    const s = statements[n]!;
    if (s.kind === 'set') found(s.local);
    else if (s.kind === 'if') {
      forEachSet(s.whenTrue, found);
      forEachSet(s.otherwise, found);
    } else if (s.kind === 'loop' || s.kind === 'block') forEachSet(s.body, found);
    else if (s.kind === 'switch') {
      for (const arm of s.cases) forEachSet(arm, found);
      forEachSet(s.otherwise, found);
    }
  }
}

/** How control leaves the end of a list: it goes on, goes to a label, or leaves the block for good. */
export function ending(statements: readonly Statement[]): 'continues' | 'branches' | 'leaves' {
  switch (statements.at(-1)?.kind) {
    case 'branch':
      return 'branches';
    case 'exit':
    case 'return':
    case 'trap':
      return 'leaves';
    default:
      return 'continues';
  }
}

// --- rewriting; the same object comes back where nothing changed ---

export function mapList<T>(list: readonly T[], change: (item: T) => T): readonly T[] {
  let changed: T[] | undefined;
  for (let n = 0; n < list.length; n++) {
    const item = change(list[n]!);
    if (changed) changed[n] = item;
    else if (item !== list[n]) {
      changed = list.slice();
      changed[n] = item;
    }
  }
  return changed ?? list;
}

/** Changes the operands of a node, in the order in which they are evaluated. */
export function mapNode(node: Node, change: (node: Node) => Node): Node {
  switch (node.kind) {
    case 'op':
      return mapOperation(node, change);
    case 'call': {
      const args = mapList(node.args, change);
      return args === node.args ? node : { ...node, args };
    }
    case 'select': {
      const whenTrue = change(node.whenTrue);
      const otherwise = change(node.otherwise);
      const condition = change(node.condition);
      const isSame =
        whenTrue === node.whenTrue && otherwise === node.otherwise && condition === node.condition;
      return isSame ? node : { ...node, whenTrue, otherwise, condition };
    }
    case 'load': {
      const address = change(node.address);
      const value = node.value && change(node.value);
      if (address === node.address && value === node.value) return node;
      return { ...node, address, ...(value && { value }) };
    }
    default:
      return node;
  }
}

/** Nearly all nodes are operations of one or two operands: their path is short. */
function mapOperation(node: Node & { kind: 'op' }, change: (node: Node) => Node): Node {
  const { args } = node;
  if (node.lanes || args.length > 2) {
    const changed = mapList(args, change);
    return changed === args ? node : { ...node, args: changed };
  }
  const [first, second] = args as [Node, Node | undefined];
  if (!first) return node;
  const a = change(first);
  const b = second && change(second);
  if (a === first && b === second) return node;
  return { kind: 'op', type: node.type, op: node.op, args: b ? [a, b] : [a] };
}

/** Changes the expressions of a statement itself, in the order in which they are evaluated; not those nested in it. */
export function mapOperands(s: Statement, change: (node: Node) => Node): Statement {
  switch (s.kind) {
    case 'set': {
      const value = change(s.value);
      return value === s.value ? s : { kind: 'set', local: s.local, value };
    }
    case 'store': {
      const address = change(s.address);
      const value = change(s.value);
      return address === s.address && value === s.value ? s : { ...s, address, value };
    }
    case 'effect':
    case 'call': {
      const args = mapList(s.args, change);
      return args === s.args ? s : { ...s, args };
    }
    case 'if': {
      const condition = change(s.condition);
      return condition === s.condition ? s : { ...s, condition };
    }
    case 'switch': {
      const selector = change(s.selector);
      return selector === s.selector ? s : { ...s, selector };
    }
    case 'return': {
      const value = s.value && change(s.value);
      return value === s.value ? s : { ...s, value };
    }
    default:
      return s;
  }
}

/** Reports the operands of a node, in the order in which they are evaluated. */
export function forEachOperand(node: Node, found: (node: Node) => void): void {
  switch (node.kind) {
    case 'op':
    case 'call': {
      const { args } = node;
      for (let n = 0; n < args.length; n++) found(args[n]!);
      return;
    }
    case 'select':
      found(node.whenTrue);
      found(node.otherwise);
      found(node.condition);
      return;
    case 'load':
      found(node.address);
      if (node.value) found(node.value);
  }
}

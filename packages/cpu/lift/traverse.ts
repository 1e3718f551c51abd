// Walking over built statements: what a pass needs so that it only says what it changes or looks for.
// Nodes and statements are immutable; mapping gives the same object back where nothing changed.

import type { Node, Statement } from './ir.ts';

/** The node with its operands mapped, in the order in which they are evaluated. */
export function mapOperands(node: Node, map: (operand: Node) => Node): Node {
  switch (node.kind) {
    case 'op':
    case 'call': {
      const args = mapList(node.args, map);
      if (args === node.args) return node;
      if (node.kind === 'op' && !(node.lanes || node.origin || node.condition !== undefined))
        return { kind: 'op', type: node.type, op: node.op, args };
      return { ...node, args };
    }
    case 'select': {
      const whenTrue = map(node.whenTrue);
      const otherwise = map(node.otherwise);
      const condition = map(node.condition);
      const isSame =
        condition === node.condition && whenTrue === node.whenTrue && otherwise === node.otherwise;
      return isSame ? node : { ...node, condition, whenTrue, otherwise };
    }
    case 'load': {
      const address = map(node.address);
      const value = node.value && map(node.value);
      if (address === node.address && value === node.value) return node;
      return { ...node, address, ...(value && { value }) };
    }
    default:
      return node;
  }
}

/** The statement with the expressions in it mapped, and lists of statements inside it. */
export function mapStatement(
  s: Statement,
  node: (node: Node) => Node,
  list: (statements: readonly Statement[]) => readonly Statement[],
): Statement {
  switch (s.kind) {
    case 'set': {
      const value = node(s.value);
      return value === s.value ? s : { ...s, value };
    }
    case 'store': {
      const address = node(s.address);
      const value = node(s.value);
      return address === s.address && value === s.value ? s : { ...s, address, value };
    }
    case 'effect':
    case 'call': {
      const args = mapList(s.args, node);
      return args === s.args ? s : { ...s, args };
    }
    case 'if':
      return {
        kind: 'if',
        condition: node(s.condition),
        whenTrue: list(s.whenTrue),
        otherwise: list(s.otherwise),
        likely: s.likely,
      };
    case 'switch':
      return {
        ...s,
        selector: node(s.selector),
        cases: s.cases.map(list),
        otherwise: list(s.otherwise),
      };
    case 'loop':
    case 'block':
      return { ...s, body: list(s.body) };
    case 'return':
      return s.value ? { ...s, value: node(s.value) } : s;
    default:
      return s;
  }
}

export function mapList<T>(list: readonly T[], map: (item: T) => T): readonly T[] {
  let changed: T[] | undefined;
  for (let n = 0; n < list.length; n++) {
    const mapped = map(list[n]!);
    if (mapped !== list[n]) changed ??= list.slice();
    if (changed) changed[n] = mapped;
  }
  return changed ?? list;
}

/** Reports the operands of a node, in the order in which they are evaluated. */
export function eachOperand(node: Node, found: (node: Node) => void): void {
  switch (node.kind) {
    case 'op':
    case 'call':
      for (let n = 0; n < node.args.length; n++) found(node.args[n]!);
      return;
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

/** Reports the node and all nodes below it. */
export function eachNode(node: Node, found: (node: Node) => void): void {
  found(node);
  switch (node.kind) {
    case 'op':
    case 'call':
      for (let n = 0; n < node.args.length; n++) eachNode(node.args[n]!, found);
      return;
    case 'select':
      eachNode(node.condition, found);
      eachNode(node.whenTrue, found);
      eachNode(node.otherwise, found);
      return;
    case 'load':
      eachNode(node.address, found);
      if (node.value) eachNode(node.value, found);
  }
}

/** Reports the expressions of one statement, without those of statements inside it. */
export function eachExpression(s: Statement, found: (node: Node) => void): void {
  switch (s.kind) {
    case 'set':
      found(s.value);
      return;
    case 'store':
      found(s.address);
      found(s.value);
      return;
    case 'effect':
    case 'call':
      for (let n = 0; n < s.args.length; n++) found(s.args[n]!);
      return;
    case 'if':
      found(s.condition);
      return;
    case 'switch':
      found(s.selector);
      return;
    case 'return':
      if (s.value) found(s.value);
  }
}

const NO_LISTS: readonly (readonly Statement[])[] = [];

/** The lists of statements directly inside one. */
export function innerLists(s: Statement): readonly (readonly Statement[])[] {
  switch (s.kind) {
    case 'if':
      return [s.whenTrue, s.otherwise];
    case 'switch':
      return [...s.cases, s.otherwise];
    case 'loop':
    case 'block':
      return [s.body];
    default:
      return NO_LISTS;
  }
}

/** Reports every statement, outer ones before those inside them. */
export function eachStatement(
  statements: readonly Statement[],
  found: (s: Statement) => void,
): void {
  for (let n = 0; n < statements.length; n++) {
    const s = statements[n]!;
    found(s);
    if (s.kind === 'if') {
      eachStatement(s.whenTrue, found);
      eachStatement(s.otherwise, found);
    } else if (s.kind === 'loop' || s.kind === 'block') eachStatement(s.body, found);
    else if (s.kind === 'switch') {
      for (const list of s.cases) eachStatement(list, found);
      eachStatement(s.otherwise, found);
    }
  }
}

/** Whether any statement, or one inside it, is so. */
export function someStatement(
  statements: readonly Statement[],
  is: (s: Statement) => boolean,
): boolean {
  for (let n = 0; n < statements.length; n++) {
    const s = statements[n]!;
    if (is(s)) return true;
    if (s.kind === 'if') {
      if (someStatement(s.whenTrue, is) || someStatement(s.otherwise, is)) return true;
    } else if (s.kind === 'loop' || s.kind === 'block') {
      if (someStatement(s.body, is)) return true;
    } else if (s.kind === 'switch') {
      if (s.cases.some((list) => someStatement(list, is)) || someStatement(s.otherwise, is))
        return true;
    }
  }
  return false;
}

// The parts of the WebAssembly JavaScript interface that Mimic uses: they are in every host, but TypeScript
// declares them only together with the whole DOM. WebAssembly JavaScript Interface 2.0.

declare namespace WebAssembly {
  interface MemoryDescriptor {
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: SharedArrayBuffer;
  }
  type ExternalKind = 'function' | 'global' | 'memory' | 'table';
  interface ModuleImport {
    readonly module: string;
    readonly name: string;
    readonly kind: ExternalKind;
  }
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
    static imports(module: Module): ModuleImport[];
  }
  interface TableDescriptor {
    readonly element: 'anyfunc';
    readonly initial: number;
  }
  class Table {
    constructor(descriptor: TableDescriptor);
    get(index: number): ((...args: never[]) => unknown) | null;
    readonly length: number;
  }
  type ImportObject = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  class Instance {
    constructor(module: Module, imports: ImportObject);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  class RuntimeError extends Error {}
  function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  function compile(bytes: Uint8Array<ArrayBuffer>): Promise<Module>;
}

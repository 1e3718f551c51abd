export { ArrayMemory } from './array-memory.ts';

// What a host's translator worker imports.

export {
  type KeptModule,
  type MadeModule,
  runTranslator,
  type TranslationStore,
  type TranslatorMessage,
  type TranslatorStart,
} from '@mimic/cpu';

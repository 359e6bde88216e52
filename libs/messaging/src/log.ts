/** Where messaging says, in whole sentences, what an operator should know. The module hands in Nest's logger. */
export interface Log {
  info(sentence: string): void;
  warn(sentence: string): void;
  error(sentence: string): void;
}
